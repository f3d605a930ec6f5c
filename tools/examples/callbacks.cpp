// What happens next is said when the task is submitted: nobody waits for it.
#include <cctype>
#include <cstdio>
#include <future>
#include <string>
#include <yoke/yoke.hpp>

std::string shout(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text + "!";
}

int main() {
  yoke::ProcessPoolExecutor pool;
  std::promise<void> all_done;
  pool.submit(shout, "hello").add_done_callback([&](yoke::Future<std::string> first) {
    std::printf("%s\n", first.get().c_str());
    pool.submit(shout, "and again").add_done_callback([&](yoke::Future<std::string> second) {
      std::printf("%s\n", second.get().c_str());
      all_done.set_value();
    });
  });
  all_done.get_future().wait();
}
