// A picture through one member of model.onnx in onnxruntime: prints the class that it ranks first. predict.cpp makes a
// member's weights once instead, for a plain network's speed.
//     picture BUNDLE MEMBER PICTURE.ppm

#include "../cpp_picture/picture.hpp"

#include <onnxruntime_cxx_api.h>

#include <array>
#include <iostream>

int main(int count, char** arguments) try {
  if (count != 4) throw std::runtime_error("usage: picture BUNDLE MEMBER PICTURE.ppm");
  const std::filesystem::path bundle = arguments[1];
  const auto manifest = read_manifest(bundle);
  int64_t member = existing_member(manifest, arguments[2]);
  const auto pixels = read_ppm(arguments[3]);
  auto values = as_input(pixels, manifest);
  const auto height = static_cast<int64_t>(pixels.height), width = static_cast<int64_t>(pixels.width);
  const std::array<int64_t, 4> shape{1, static_cast<int64_t>(pixels.channels), height, width};

  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "hnexport");
  Ort::Session session(env, (bundle / "model.onnx").c_str(), Ort::SessionOptions{});
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const std::array inputs{
      Ort::Value::CreateTensor<int64_t>(memory, &member, 1, nullptr, 0),  // a scalar: no axes
      Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), shape.size())};
  const std::array names{"cond_id", "image"};
  const std::array wanted{"logits"};
  const auto outputs = session.Run(Ort::RunOptions{}, names.data(), inputs.data(), 2, wanted.data(), 1);
  std::cout << first_choice(manifest, outputs[0].GetTensorData<float>()) << '\n';
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
