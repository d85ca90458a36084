// A picture through one member of model.pt in libtorch: prints the class that it ranks first.
//     picture BUNDLE MEMBER PICTURE.ppm

#include "../cpp_picture/picture.hpp"

#include <torch/script.h>

#include <iostream>

int main(int count, char** arguments) try {
  if (count != 4) throw std::runtime_error("usage: picture BUNDLE MEMBER PICTURE.ppm");
  const std::filesystem::path bundle = arguments[1];
  const auto manifest = read_manifest(bundle);
  const auto member = torch::tensor(existing_member(manifest, arguments[2]));
  const auto pixels = read_ppm(arguments[3]);
  auto values = as_input(pixels, manifest);
  const auto height = static_cast<int64_t>(pixels.height), width = static_cast<int64_t>(pixels.width);
  const auto image = torch::from_blob(values.data(), {1, static_cast<int64_t>(pixels.channels), height, width});

  auto model = torch::jit::load((bundle / "model.pt").string());
  const torch::InferenceMode guard;
  const auto logits = model.forward({member, image}).toTensor().contiguous();  // [batch, class]
  std::cout << first_choice(manifest, logits.data_ptr<float>()) << '\n';
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
