// A worker dies of a null pointer. The error says where, and the pool goes on.
#include <cstdio>
#include <yoke/yoke.hpp>

struct Person {
  int id;
  int born;
};

[[gnu::noinline]] const Person* find(int id) {
  static const Person people[] = {{1, 1815}, {2, 1906}};
  for (const Person& person : people)
    if (person.id == id) return &person;
  return nullptr;
}
int year_of_birth(int id) { return find(id)->born; }

int main() {
  yoke::ProcessPoolExecutor pool(1);
  for (int id : {1, 3, 2}) try {
      std::printf("%d: born %d\n", id, pool.submit(year_of_birth, id).get());
    } catch (const yoke::TerminatedWorkerError& error) {
      std::printf("%d: %s\n", id, error.what());
    }
}
