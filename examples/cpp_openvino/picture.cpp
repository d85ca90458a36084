// A picture through one member of model.onnx in OpenVINO: prints the class that it ranks first.
//     picture BUNDLE MEMBER PICTURE.ppm

#include "../cpp_picture/picture.hpp"

#include <openvino/openvino.hpp>

#include <iostream>

int main(int count, char** arguments) try {
  if (count != 4) throw std::runtime_error("usage: picture BUNDLE MEMBER PICTURE.ppm");
  const std::filesystem::path bundle = arguments[1];
  const auto manifest = read_manifest(bundle);
  int64_t member = existing_member(manifest, arguments[2]);  // OpenVINO would cut the id to 32 bits
  const auto pixels = read_ppm(arguments[3]);
  auto values = as_input(pixels, manifest);

  ov::Core core;
  // Without the hint OpenVINO takes bfloat16 where the processor has it, which is 1e-2 off.
  auto model = core.compile_model((bundle / "model.onnx").string(), "CPU",
                                  ov::hint::inference_precision(ov::element::f32));
  auto request = model.create_infer_request();
  request.set_tensor("cond_id", ov::Tensor(ov::element::i64, ov::Shape{}, &member));
  const ov::Shape shape{1, pixels.channels, pixels.height, pixels.width};
  request.set_tensor("image", ov::Tensor(ov::element::f32, shape, values.data()));
  request.infer();
  std::cout << first_choice(manifest, request.get_tensor("logits").data<float>()) << '\n';
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
