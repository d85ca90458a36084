// What model.pt costs beside a member's plain network (`hnexport member BUNDLE 0 --out plain.pt`), one image a call.
//     time MODEL.pt PLAIN.pt GOLDEN CHANNELS HEIGHT WIDTH
// One line of JSON, in milliseconds: medians of calls taken in turns.

#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/version.h>

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
  if (count != 7) throw std::runtime_error("usage: time MODEL.pt PLAIN.pt GOLDEN CHANNELS HEIGHT WIDTH");
  auto image = torch::empty({1, std::stoll(arguments[4]), std::stoll(arguments[5]), std::stoll(arguments[6])});
  std::ifstream(std::string(arguments[3]) + "/inputs/image.raw", std::ios::binary)
      .read(static_cast<char*>(image.data_ptr()), static_cast<std::streamsize>(image.nbytes()));
  at::set_num_threads(1);
  const torch::InferenceMode guard;
  auto plain = torch::jit::load(arguments[2]);
  torch::jit::script::Module model;
  const double load = milliseconds([&] { model = torch::jit::load(arguments[1]); });
  const auto id = torch::tensor(int64_t{0});
  for (int warm = 0; warm < 5; ++warm) model.forward({id, image}), plain.forward({image});
  std::vector<double> own, other;
  const auto end = Clock::now() + std::chrono::seconds(3);
  while (Clock::now() < end || own.size() < 10) {
    own.push_back(milliseconds([&] { model.forward({id, image}); }));
    other.push_back(milliseconds([&] { plain.forward({image}); }));
  }
  std::cout << "{\"version\": \"" << TORCH_VERSION << "\", \"load_ms\": " << load << ", \"call_ms\": " << median(own)
            << ", \"plain_ms\": " << median(other) << "}\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
