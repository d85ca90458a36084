// model.pt in libtorch: every golden image through every member, beside the inputs that `hnexport golden` wrote.
//     predict BUNDLE GOLDEN CHANNELS HEIGHT WIDTH ID...
// Of a network with other inputs, read those of GOLDEN/golden.json instead, in its order.

#include <torch/script.h>
#include <torch/version.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

namespace fs = std::filesystem;

torch::Tensor read_images(const fs::path& path, int64_t channels, int64_t height, int64_t width) {
  const auto bytes = static_cast<int64_t>(fs::file_size(path));
  const int64_t row = channels * height * width * static_cast<int64_t>(sizeof(float));
  if (bytes % row != 0) throw std::runtime_error(path.string() + " holds no whole images of this size");
  auto images = torch::empty({bytes / row, channels, height, width});
  std::ifstream(path, std::ios::binary).read(static_cast<char*>(images.data_ptr()), bytes);
  return images;
}

void write(const fs::path& path, const torch::Tensor& output) {
  fs::create_directories(path.parent_path());
  const auto values = output.contiguous();
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(values.data_ptr()), static_cast<std::streamsize>(values.nbytes()));
}

int main(int count, char** arguments) try {
  if (count < 7) throw std::runtime_error("usage: predict BUNDLE GOLDEN CHANNELS HEIGHT WIDTH ID...");
  const fs::path bundle = arguments[1], golden = arguments[2];
  const auto images = read_images(golden / "inputs" / "image.raw", std::stoll(arguments[3]), std::stoll(arguments[4]),
                                  std::stoll(arguments[5]));
  auto model = torch::jit::load((bundle / "model.pt").string());
  const torch::InferenceMode guard;
  for (int place = 6; place < count; ++place) {  // ids that do not exist give NaN
    const auto id = torch::tensor(static_cast<int64_t>(std::stoll(arguments[place])));
    const auto logits = model.forward({id, images}).toTensor();
    write(golden / ("member-" + std::string(arguments[place])) / "logits.raw", logits);
  }
  std::ofstream(golden / "runtime.txt") << "libtorch " << TORCH_VERSION << ", C++";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
