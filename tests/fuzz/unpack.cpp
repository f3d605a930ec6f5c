#include "tests/fuzz/unpack.hpp"

#include <boost/intrusive_ptr.hpp>
#include <exception>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "yoke/yoke.hpp"

namespace yoke_fuzz {
namespace {

struct Person {
  std::string name;
  std::optional<int> born;
  std::vector<Person> children;
};

void nothing(yoke::Call&) {}
yoke::Callable callable{&nothing, &typeid(void)};

/// What is no T is told by an exception of the standard library's kind; anything else is a bug.
template <class T>
void unpack_as(std::span<const std::byte> bytes) {
  try {
    yoke::detail::unpack_result<T>(yoke::Bytes(bytes));
  } catch (const std::exception&) {
  }
}

/// Goes down the exceptions that it holds.
void read(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    if (!e.what()) throw std::logic_error("an exception without a text");
    if (const auto* remote = dynamic_cast<const yoke::RemoteException*>(&e); remote && remote->frames().size() > 24)
      throw std::logic_error("more frames than a throw has");
    if (const auto* nested = dynamic_cast<const std::nested_exception*>(&e); nested && nested->nested_ptr())
      read(nested->nested_ptr());
  }
}

void unpack_chunk(std::span<const std::byte> bytes, std::size_t count) {
  const boost::intrusive_ptr<yoke::Task> task(new yoke::detail::TaskOf<void>(callable, nullptr, yoke::Bytes()));
  yoke::Outcome outcome;
  outcome.bytes = yoke::Bytes(bytes);
  task->resolve(std::move(outcome));
  try {
    const yoke::detail::ChunkReader reader(*task, count);
    for (std::size_t i = 0; i < count; ++i)
      if (const auto error = reader.error(i)) read(error);
    const yoke::Message values(reader.values());
    yoke::detail::unpack_array(values.object(), count);
  } catch (const std::exception&) {
  }
}

}  // namespace

void unpack(std::span<const std::byte> bytes, unsigned as, std::size_t count) {
  switch (as % 9) {
    case 0: return unpack_chunk(bytes, count);
    case 1: return unpack_as<int>(bytes);
    case 2: return unpack_as<std::string>(bytes);
    case 3: return unpack_as<std::vector<double>>(bytes);
    case 4: return unpack_as<std::vector<std::string>>(bytes);
    case 5: return unpack_as<std::map<std::string, std::vector<int>>>(bytes);
    case 6: return unpack_as<std::variant<int, std::string, Person>>(bytes);
    case 7: return unpack_as<Person>(bytes);
    default: return read(yoke::detail::unpack_exception(bytes, 1, "task"));
  }
}

}  // namespace yoke_fuzz
