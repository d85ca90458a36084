"""Networks in fewer bits: int8 by QuantizeLinear and DequantizeLinear around layers, calibrated, measured and proved.

Int8 graphs are made once for all members; `hnexport.runtime` and `hnexport.member` put a member's parameters into them.
Float16 (`half`) and what fewer bits cost (`cost`, `judged`) are here too.
"""
