// A worker dies of a null pointer. The error says where, and the pool goes on.
#include <cstdio>
#include <map>
#include <string>
#include <yoke/yoke.hpp>

const std::string* find_name(int id) {
  static const std::map<int, std::string> names{{1, "Ada"}, {2, "Grace"}};
  const auto found = names.find(id);
  return found == names.end() ? nullptr : &found->second;
}

std::size_t name_length(int id) { return find_name(id)->size(); }

int main() {
  yoke::ProcessPoolExecutor pool(1);
  for (int id : {1, 3, 2}) try {
      std::printf("%d: %zu letters\n", id, pool.submit(name_length, id).get());
    } catch (const yoke::TerminatedWorkerError& error) {
      std::printf("%d: %s\n", id, error.what());
    }
}
