// What model.onnx costs beside a member's plain network (`hnexport member BUNDLE 0 --out plain.onnx`), one image a call.
//     time MODEL.onnx PLAIN.onnx GOLDEN CHANNELS HEIGHT WIDTH
// One line of JSON, in milliseconds: medians of calls taken in turns, with one thread.

#include <openvino/openvino.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

using Clock = std::chrono::steady_clock;

template <class Call>
double milliseconds(const Call& call) {
  const auto start = Clock::now();
  call();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

int main(int count, char** arguments) try {
  if (count != 7) throw std::runtime_error("usage: time MODEL.onnx PLAIN.onnx GOLDEN CHANNELS HEIGHT WIDTH");
  ov::Tensor image(ov::element::f32,
                   {1, std::stoull(arguments[4]), std::stoull(arguments[5]), std::stoull(arguments[6])});
  std::ifstream(std::string(arguments[3]) + "/inputs/image.raw", std::ios::binary)
      .read(reinterpret_cast<char*>(image.data<float>()), static_cast<std::streamsize>(image.get_byte_size()));
  ov::Core core;
  const ov::AnyMap settings{ov::hint::inference_precision(ov::element::f32), ov::inference_num_threads(1)};
  auto plain = core.compile_model(std::string(arguments[2]), "CPU", settings).create_infer_request();
  ov::InferRequest model;
  const double load = milliseconds(
      [&] { model = core.compile_model(std::string(arguments[1]), "CPU", settings).create_infer_request(); });
  int64_t id = 0;
  model.set_tensor("cond_id", ov::Tensor(ov::element::i64, ov::Shape{}, &id));
  model.set_tensor("image", image);
  plain.set_tensor("image", image);
  for (int warm = 0; warm < 5; ++warm) model.infer(), plain.infer();
  std::vector<double> own, other;
  const auto end = Clock::now() + std::chrono::seconds(3);
  while (Clock::now() < end || own.size() < 10) {
    own.push_back(milliseconds([&] { model.infer(); }));
    other.push_back(milliseconds([&] { plain.infer(); }));
  }
  std::cout << "{\"version\": \"" << ov::get_openvino_version().buildNumber << "\", \"load_ms\": " << load
            << ", \"call_ms\": " << median(own) << ", \"plain_ms\": " << median(other) << "}\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
