// Materialised members in onnxruntime: hypernet.onnx makes a member's weights once, network.onnx takes them at load, and
// a call then costs what a plain network costs.
//     predict BUNDLE GOLDEN CHANNELS HEIGHT WIDTH ID...

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;

std::vector<float> read_floats(const fs::path& path) {
  std::vector<float> values(fs::file_size(path) / sizeof(float));
  std::ifstream(path, std::ios::binary)
      .read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

void write(const fs::path& path, const Ort::Value& output) {
  fs::create_directories(path.parent_path());
  const auto count = output.GetTensorTypeAndShapeInfo().GetElementCount();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(output.GetTensorData<float>()),
             static_cast<std::streamsize>(count * sizeof(float)));
}

// The names that the manifest lists under onnx.supplied; a program that has a JSON library reads them with it.
std::vector<std::string> supplied_names(const fs::path& manifest) {
  std::ifstream file(manifest);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::smatch list;
  if (!std::regex_search(text, list, std::regex("\"supplied\"\\s*:\\s*\\[([^\\]]*)\\]")))
    throw std::runtime_error(manifest.string() + " lists no onnx.supplied");
  const std::string inside = list[1];
  const std::regex name("\"([^\"]+)\"");
  std::vector<std::string> names;
  for (std::sregex_iterator found(inside.begin(), inside.end(), name), end; found != end; ++found)
    names.push_back((*found)[1]);
  return names;
}

// A member: its weights, which the session refers to, and the session. onnxruntime takes initializers in buffers of the
// caller alone, so that each weight is wrapped once more, without a copy.
class Member {
 public:
  Member(Ort::Env& env, Ort::Session& hypernet, const fs::path& bundle, const std::vector<std::string>& supplied,
         int64_t id) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto cond_id = Ort::Value::CreateTensor<int64_t>(memory, &id, 1, nullptr, 0);
    const char* input = "cond_id";
    std::vector<const char*> names;
    for (const auto& name : supplied) names.push_back(name.c_str());
    weights_ = hypernet.Run(Ort::RunOptions{}, &input, &cond_id, 1, names.data(), names.size());
    for (auto& weight : weights_) {
      const auto info = weight.GetTensorTypeAndShapeInfo();
      const auto shape = info.GetShape();
      wrapped_.push_back(Ort::Value::CreateTensor<float>(memory, weight.GetTensorMutableData<float>(),
                                                         info.GetElementCount(), shape.data(), shape.size()));
    }
    Ort::SessionOptions options;
    options.AddExternalInitializers(supplied, wrapped_);
    session_ = Ort::Session(env, (bundle / "network.onnx").c_str(), options);
  }

  Ort::Value predict(const Ort::Value& images) {
    const char *input = "image", *output = "logits";
    return std::move(session_.Run(Ort::RunOptions{}, &input, &images, 1, &output, 1).front());
  }

 private:
  std::vector<Ort::Value> weights_, wrapped_;
  Ort::Session session_{nullptr};
};

int main(int count, char** arguments) try {
  if (count < 7) throw std::runtime_error("usage: predict BUNDLE GOLDEN CHANNELS HEIGHT WIDTH ID...");
  const fs::path bundle = arguments[1], golden = arguments[2];
  std::vector<int64_t> shape{0, std::stoll(arguments[3]), std::stoll(arguments[4]), std::stoll(arguments[5])};
  auto pixels = read_floats(golden / "inputs" / "image.raw");
  shape[0] = static_cast<int64_t>(pixels.size()) / (shape[1] * shape[2] * shape[3]);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto images =
      Ort::Value::CreateTensor<float>(memory, pixels.data(), pixels.size(), shape.data(), shape.size());

  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "hnexport");
  Ort::Session hypernet(env, (bundle / "hypernet.onnx").c_str(), Ort::SessionOptions{});
  const auto supplied = supplied_names(bundle / "manifest.json");
  for (int place = 6; place < count; ++place) {  // ids that do not exist give NaN
    Member member(env, hypernet, bundle, supplied, std::stoll(arguments[place]));
    write(golden / ("member-" + std::string(arguments[place])) / "logits.raw", member.predict(images));
  }
  std::ofstream(golden / "runtime.txt") << "onnxruntime " << OrtGetApiBase()->GetVersionString() << ", C++";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
