// What manifest.json says of pictures, ids and classes, for the C++ examples. Needs nlohmann/json (3.2 or newer).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

// uint8 [height, width, channel] in RGB, as decoders give them (OpenCV gives BGR).
struct Pixels {
  size_t height, width, channels;
  std::vector<uint8_t> values;
};

// A binary PPM with 8 bits a channel, so that the examples need no decoder: `convert cat.png cat.ppm`.
inline Pixels read_ppm(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  size_t width = 0, height = 0, most = 0;
  file >> kind >> width >> height >> most;
  file.get();
  if (!file || kind != "P6" || most != 255) throw std::runtime_error(path.string() + " is no binary PPM of 8 bits");
  Pixels pixels{height, width, 3, std::vector<uint8_t>(height * width * 3)};
  file.read(reinterpret_cast<char*>(pixels.values.data()), static_cast<std::streamsize>(pixels.values.size()));
  if (!file) throw std::runtime_error(path.string() + " is cut");
  return pixels;
}

inline nlohmann::json read_manifest(const std::filesystem::path& bundle) {
  return nlohmann::json::parse(std::ifstream(bundle / "manifest.json"));
}

// The id, where there is such a member: a file gives NaN for others, but not every runtime passes them on whole.
inline int64_t existing_member(const nlohmann::json& manifest, const std::string& text) {
  const int64_t member = std::stoll(text), members = manifest.at("members").get<int64_t>();
  if (member < 0 || member >= members) throw std::runtime_error("there is no member " + text);
  return member;
}

// The picture as float32 [channel, height, width], normalised as in training.
inline std::vector<float> as_input(const Pixels& pixels, const nlohmann::json& manifest) {
  const auto& input = manifest.at("inputs").at(1);  // the first is cond_id
  const auto expected = nlohmann::json::array({"batch", pixels.channels, pixels.height, pixels.width});
  if (input.at("shape") != expected || input.at("dtype") != "float32")
    throw std::runtime_error("the network takes " + input.at("shape").dump() + ", the picture is " + expected.dump());
  const auto usage = manifest.value("usage", nlohmann::json::object());
  const auto said = usage.value("normalisation", nlohmann::json());
  if (said.is_null()) throw std::runtime_error("nobody said how training normalised pictures");
  const auto mean = said.at("mean").get<std::vector<float>>();  // one number, or one a channel
  const auto deviation = said.at("std").get<std::vector<float>>();
  const size_t places = pixels.height * pixels.width;
  std::vector<float> image(places * pixels.channels);
  for (size_t channel = 0; channel < pixels.channels; ++channel)
    for (size_t place = 0; place < places; ++place)
      image[channel * places + place] =
          (pixels.values[place * pixels.channels + channel] / 255.0f - mean[channel % mean.size()]) /
          deviation[channel % deviation.size()];
  return image;
}

// What the class with the largest logit is called.
inline std::string first_choice(const nlohmann::json& manifest, const float* logits) {
  const auto& output = manifest.at("outputs").at(0);
  const auto classes = output.at("shape").at(1).get<std::ptrdiff_t>();
  const auto best = std::distance(logits, std::max_element(logits, logits + classes));
  const auto usage = manifest.value("usage", nlohmann::json::object());
  const auto names = usage.value("class_names", nlohmann::json::object());
  const auto found = names.find(output.at("name").get<std::string>());
  return found == names.end() ? "class " + std::to_string(best) : found->at(best).get<std::string>();
}
