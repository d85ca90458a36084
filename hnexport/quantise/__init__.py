"""Networks in int8: QuantizeLinear and DequantizeLinear around layers, calibrated, measured and proved.

The graphs are made once for all members; `hnexport.runtime` and `hnexport.member` put a member's parameters into them.
"""
