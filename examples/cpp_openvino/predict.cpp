// model.onnx in OpenVINO: every golden image through every member, beside the inputs that `hnexport golden` wrote.
//     predict BUNDLE GOLDEN CHANNELS HEIGHT WIDTH ID...
// Of a network with other inputs, read those of GOLDEN/golden.json instead, by their names.

#include <openvino/openvino.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

namespace fs = std::filesystem;

ov::Tensor read_images(const fs::path& path, size_t channels, size_t height, size_t width) {
  const size_t bytes = fs::file_size(path), row = channels * height * width * sizeof(float);
  if (bytes % row != 0) throw std::runtime_error(path.string() + " holds no whole images of this size");
  ov::Tensor images(ov::element::f32, {bytes / row, channels, height, width});
  std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(images.data<float>()), bytes);
  return images;
}

void write(const fs::path& path, const ov::Tensor& output) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(output.data<float>()), static_cast<std::streamsize>(output.get_byte_size()));
}

int main(int count, char** arguments) try {
  if (count < 7) throw std::runtime_error("usage: predict BUNDLE GOLDEN CHANNELS HEIGHT WIDTH ID...");
  const fs::path bundle = arguments[1], golden = arguments[2];
  const auto images = read_images(golden / "inputs" / "image.raw", std::stoull(arguments[3]), std::stoull(arguments[4]),
                                  std::stoull(arguments[5]));
  ov::Core core;
  // Without the hint OpenVINO takes bfloat16 where the processor has it, which is 1e-2 off.
  auto model = core.compile_model((bundle / "model.onnx").string(), "CPU",
                                  ov::hint::inference_precision(ov::element::f32));
  auto request = model.create_infer_request();
  request.set_tensor("image", images);
  for (int place = 6; place < count; ++place) {  // OpenVINO cuts ids to 32 bits: check 0 <= id < members yourself
    int64_t id = std::stoll(arguments[place]);
    request.set_tensor("cond_id", ov::Tensor(ov::element::i64, ov::Shape{}, &id));
    request.infer();
    write(golden / ("member-" + std::string(arguments[place])) / "logits.raw", request.get_tensor("logits"));
  }
  std::ofstream(golden / "runtime.txt") << "OpenVINO " << ov::get_openvino_version().buildNumber << ", C++";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
