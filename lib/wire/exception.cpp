// Exceptions on the wire: an array of the type's name, what(), the registered type's key, its payload, the nested
// exception, and where it was thrown, packed in the worker by the catch block and made again in the caller.
#include "yoke/exception.hpp"

#include <cxxabi.h>
#include <fmt/format.h>
#include <any>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <regex>
#include <string_view>
#include <system_error>
#include <variant>

#include "lib/system/fork_guard.hpp"
#include "lib/system/symbols.hpp"
#include "lib/wire/printable.hpp"
#include "lib/wire/throw_place.hpp"
#include "yoke/call.hpp"
#include "yoke/map.hpp"

namespace yoke {
namespace detail {

/// As a worker tells it: paths of modules, then offset and number of the module for each frame.
struct ThrowPlace {
  std::vector<std::string> modules;
  std::vector<std::pair<std::uint64_t, std::size_t>> frames;
};
struct ThrowPlaces {
  static std::shared_ptr<const ThrowPlace>& of(RemoteException& error) { return error.place_; }
  static const std::shared_ptr<const ThrowPlace>& of(const RemoteException& error) { return error.place_; }
};

}  // namespace detail

std::vector<std::string> RemoteException::frames() const {
  std::vector<system::Frame> frames;
  if (place_)
    for (const auto& [offset, module] : place_->frames) frames.push_back({offset, place_->modules.at(module)});
  auto described = system::describe_frames(frames, true);
  for (std::string& frame : described) frame = wire::printable(frame, wire::Lines::one, wire::most_words);
  return described;
}

}  // namespace yoke

namespace yoke::detail {
namespace {

/// What a worker wrote as the text of an exception that arrives as itself, and is the program's data too.
std::string text_of(std::string_view text) {
  constexpr std::size_t most = 512 * 1024;
  return wire::printable(text, wire::Lines::several, most);
}

/// An exception type that takes no text: keeps the text that it had in the worker beside it.
template <class E>
class RemoteTextless : public E, public RemoteException {
 public:
  RemoteTextless(E error, std::string text, RemoteException origin)
      : E(std::move(error)), RemoteException(std::move(origin)), text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

void pack_what(Packer& packer, const std::exception& error) { pack_text(packer, error.what()); }

template <class E>
ExceptionType textless() {
  return {&typeid(E), &pack_what, [](const Object& packed, const RemoteException& origin, bool nests) {
            return deliver(RemoteTextless<E>(E(), std::string(unpack_string(packed)), origin), nests);
          }};
}
template <class E>
ExceptionType with_text() {
  return {&typeid(E), &ExceptionCrossing<E>::pack, &ExceptionCrossing<E>::make};
}

struct PackedCode {
  std::string category;
  int value = 0;
  std::string text;
  std::string path1, path2;
};
std::error_code code_of(const PackedCode& packed) {
  for (const std::error_category* category :
       {&std::system_category(), &std::generic_category(), &std::iostream_category(), &std::future_category()})
    if (packed.category == category->name()) return {packed.value, *category};
  return {packed.value, std::generic_category()};  // a category of the user's: its value is kept, its name is in what()
}
template <class E>
void pack_code(Packer& packer, const std::exception& error) {
  const auto& e = dynamic_cast<const E&>(error);
  PackedCode packed{e.code().category().name(), e.code().value(), std::string(wire::text_of(e)), {}, {}};
  if constexpr (std::is_same_v<E, std::filesystem::filesystem_error>) {
    packed.path1 = e.path1().string();
    packed.path2 = e.path2().string();
  }
  pack_value(packer, packed);
}
template <class E>
std::exception_ptr make_code(const Object& object, const RemoteException& origin, bool nests) {
  const auto packed = unpack_value<PackedCode>(object);
  const auto error = [&] {
    if constexpr (std::is_same_v<E, std::filesystem::filesystem_error>)
      return E({}, packed.path1, packed.path2, code_of(packed));
    else if constexpr (std::is_same_v<E, std::future_error>)
      return E(static_cast<std::future_errc>(packed.value));
    else if constexpr (std::is_same_v<E, std::ios_base::failure>)
      return E("", code_of(packed));
    else
      return E(code_of(packed));
  };
  return deliver(RemoteTextless<E>(error(), text_of(packed.text), origin), nests);
}
template <class E>
ExceptionType with_code() {
  return {&typeid(E), &pack_code<E>, &make_code<E>};
}

void pack_regex(Packer& packer, const std::exception& error) {
  pack_value(packer, std::pair<int, std::string>(dynamic_cast<const std::regex_error&>(error).code(), error.what()));
}
std::exception_ptr make_regex(const Object& packed, const RemoteException& origin, bool nests) {
  const auto [code, text] = unpack_value<std::pair<int, std::string>>(packed);
  const std::regex_error error(static_cast<std::regex_constants::error_type>(code));
  return deliver(RemoteTextless<std::regex_error>(error, text_of(text), origin), nests);
}

struct Registry {
  std::mutex mutex;
  // By mangled name, in its own memory, as a module that is closed takes its types along; the last one is used.
  std::map<std::string, std::vector<ExceptionType>, std::less<>> types;
};
Registry& registry() {
  static Registry* all = [] {
    auto* made = system::make_process_wide<Registry>(system::ForkOrder::exceptions);
    for (const ExceptionType& type : {textless<std::exception>(),
                                      textless<std::bad_alloc>(),
                                      textless<std::bad_array_new_length>(),
                                      textless<std::bad_cast>(),
                                      textless<std::bad_typeid>(),
                                      textless<std::bad_exception>(),
                                      textless<std::bad_function_call>(),
                                      textless<std::bad_weak_ptr>(),
                                      textless<std::bad_optional_access>(),
                                      textless<std::bad_variant_access>(),
                                      textless<std::bad_any_cast>(),
                                      with_text<std::logic_error>(),
                                      with_text<std::domain_error>(),
                                      with_text<std::invalid_argument>(),
                                      with_text<std::length_error>(),
                                      with_text<std::out_of_range>(),
                                      with_text<std::runtime_error>(),
                                      with_text<std::range_error>(),
                                      with_text<std::overflow_error>(),
                                      with_text<std::underflow_error>(),
                                      with_code<std::system_error>(),
                                      with_code<std::filesystem::filesystem_error>(),
                                      with_code<std::ios_base::failure>(),
                                      with_code<std::future_error>(),
                                      ExceptionType{&typeid(std::regex_error), &pack_regex, &make_regex},
                                      with_text<Error>(),
                                      with_text<SerializationError>(),
                                      with_text<RecursionError>()})
      made->types[type.type->name()].push_back(type);
    return made;
  }();
  return *all;
}
[[maybe_unused]] const Registry& made_at_load = registry();
std::optional<ExceptionType> find_type(std::string_view key) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().types.find(key);
  if (found == registry().types.end()) return std::nullopt;
  return found->second.back();
}

/// Text of a thrown value that is no std::exception.
std::string text_of_value(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::string& text) {
    return text;
  } catch (const char* text) {
    return text ? text : "";
  } catch (int value) {
    return fmt::format("the value {}", value);
  } catch (...) {
    return "a value that is no std::exception";
  }
}

/// The type that was thrown, also when std::throw_with_nested has wrapped it.
std::string thrown_type(const std::exception& error) {
  const std::string name = system::demangle(typeid(error).name());
  constexpr std::string_view wrapper = "std::_Nested_exception<";
  if (!name.starts_with(wrapper) || !name.ends_with('>')) return name;
  const std::string wrapped = name.substr(wrapper.size(), name.size() - wrapper.size() - 1);
  return wrapped.ends_with(" const") ? wrapped.substr(0, wrapped.rfind(' ')) : wrapped;
}

/// Mangled, and without std::throw_with_nested's wrapper.
std::string registered_name(const std::exception& error) {
  const std::string_view name = typeid(error).name();
  constexpr std::string_view wrapper = "St17_Nested_exceptionI";
  if (!name.starts_with(wrapper) || !name.ends_with('E')) return std::string(name);
  const std::string_view wrapped = name.substr(wrapper.size(), name.size() - wrapper.size() - 1);
  return std::string(wrapped.starts_with('K') ? wrapped.substr(1) : wrapped);  // K: it was thrown from a const object
}

constexpr std::size_t fields = 6;
constexpr int max_nesting = 16;

ThrowPlace place_of(const std::exception_ptr& error) {
  ThrowPlace place;
  for (const system::Frame& frame : wire::throw_place(error)) {
    const auto known = std::find(place.modules.begin(), place.modules.end(), frame.module);
    place.frames.emplace_back(frame.offset, static_cast<std::size_t>(known - place.modules.begin()));
    if (known == place.modules.end()) place.modules.push_back(frame.module);
  }
  return place;
}
/// Nil if it is not known.
void pack_place(Packer& packer, const ThrowPlace* place) {
  if (place && !place->frames.empty())
    pack_value(packer, std::tie(place->modules, place->frames));
  else
    packer.pack_nil();
}
std::shared_ptr<const ThrowPlace> unpack_place(const Object& object) {
  if (object.type == msgpack::type::NIL) return nullptr;
  auto place = std::make_shared<ThrowPlace>();
  std::tie(place->modules, place->frames) =
      unpack_value<std::pair<decltype(ThrowPlace::modules), decltype(ThrowPlace::frames)>>(object);
  // What a worker tells may be anything: each of these costs a look into debug information.
  if (place->frames.size() > wire::most_frames_of_a_throw ||
      std::any_of(place->frames.begin(), place->frames.end(),
                  [&](const auto& frame) { return frame.second >= place->modules.size(); }))
    throw SerializationError("the place of the throw is damaged");
  return place;
}

void pack_exception(Packer& packer, const std::exception_ptr& error, int nesting);

void pack_exception_fields(Packer& packer, const std::exception_ptr& error, int nesting) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    // What crossed before (a nested pool) is sent on under its own type, not under that of its carrier.
    const auto* remote = dynamic_cast<const RemoteException*>(&e);
    std::string key = registered_name(e);
    auto type = find_type(key);
    if (!type && remote) {
      const std::lock_guard lock(registry().mutex);
      for (const auto& [name, candidate] : registry().types)
        if (system::demangle(candidate.back().type->name()) == remote->type_name()) {
          type = candidate.back();
          key = name;
        }
    }
    pack_text(packer, remote ? remote->type_name() : thrown_type(e));
    pack_text(packer, wire::text_of(e));
    if (type) {
      PackBuffer payload;
      try {
        Packer payload_packer(payload);
        std::deque<Packer::Level> around;  // within which it will lie
        for (int i = 0; i < nesting + 2; ++i) around.emplace_back(payload_packer);
        type->pack(payload_packer, e);
        pack_text(packer, key);
        packer.buffer().write(reinterpret_cast<const char*>(payload.view().data()), payload.size());
      } catch (...) {  // its codec failed: type and text are enough for a RemoteError
        wire::end_if_thread_exits(&std::terminate);
        packer.pack_nil();
        packer.pack_nil();
      }
    } else {
      packer.pack_nil();
      packer.pack_nil();
    }
    const auto* nested = dynamic_cast<const std::nested_exception*>(&e);
    if (nested && nested->nested_ptr() && nesting < max_nesting)
      pack_exception(packer, nested->nested_ptr(), nesting + 1);
    else
      packer.pack_nil();
    const ThrowPlace here = remote ? ThrowPlace() : place_of(error);
    pack_place(packer, remote ? ThrowPlaces::of(*remote).get() : &here);
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    pack_text(packer, type ? system::demangle(type->name()) : "an exception of another language");
    pack_text(packer, text_of_value(std::current_exception()));
    for (std::size_t i = 2; i < fields - 1; ++i) packer.pack_nil();
    const ThrowPlace here = place_of(error);
    pack_place(packer, &here);
  }
}

void pack_exception(Packer& packer, const std::exception_ptr& error, int nesting) {
  packer.pack_array(fields);
  pack_exception_fields(packer, error, nesting);
}

/// As it was made: not what its copying threw, nor what has become of the pool or of a future, which is for the pool
/// alone to say.
bool is_itself(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const BrokenProcessPool&) {
  } catch (const ShutdownExecutorError&) {
  } catch (const TimeoutError&) {
  } catch (const CancelledError&) {
  } catch (const RemoteException&) {
    return true;
  } catch (...) {
  }
  return false;
}

/// Of a registered type. Null if it cannot be that here: its payload cannot be unpacked, or it would pass for the
/// pool's.
std::exception_ptr make_itself(const ExceptionType& type, const Object& payload, const RemoteException& origin,
                               bool nests) {
  try {
    if (payload.type != msgpack::type::STR) {
      auto made = type.make(payload, origin, nests);
      return is_itself(made) ? made : nullptr;
    }
    const std::string text = text_of(unpack_string(payload));
    Object shown = payload;
    shown.via.str = {static_cast<std::uint32_t>(text.size()), text.data()};
    auto made = type.make(shown, origin, nests);
    return is_itself(made) ? made : nullptr;
  } catch (const abi::__forced_unwind&) {  // the thread ends: nothing may stop that
    throw;
  } catch (...) {
    return nullptr;
  }
}

/// Calls make() while `nested`, if there is one, is handled: std::nested_exception takes that.
template <class Make>
std::exception_ptr make_handling(const std::exception_ptr& nested, const Make& make) {
  if (!nested) return make();
  try {
    std::rethrow_exception(nested);
  } catch (...) {
    return make();
  }
}

}  // namespace

void register_exception(const ExceptionType& type) {
  const std::lock_guard lock(registry().mutex);
  registry().types[type.type->name()].push_back(type);
}

void forget_exception(const ExceptionType& type) noexcept {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().types.find(std::string_view(type.type->name()));
  if (found == registry().types.end()) return;
  auto& same = found->second;
  const auto mine = std::find_if(same.begin(), same.end(), [&](const ExceptionType& known) {
    return known.type == type.type && known.make == type.make;
  });
  if (mine != same.end()) same.erase(mine);
  if (same.empty()) registry().types.erase(found);
}

void pack_current_exception(PackBuffer& out, Phase phase) {
  wire::end_if_thread_exits(&std::terminate);  // whose handler tells the reason
  Packer packer(out);
  if (phase != Phase::decode && phase != Phase::encode) {
    pack_exception(packer, std::current_exception(), 0);
    return;
  }
  try {
    if (phase == Phase::decode) throw_serialization_error("the arguments", "unpacked");
    throw_serialization_error("the result", "packed");
  } catch (...) {
    pack_exception(packer, std::current_exception(), 0);
  }
}

void throw_serialization_error(const char* what, const char* deed) {
  wire::end_if_thread_exits(&std::terminate);  // whose handler tells the reason
  std::string text;
  try {
    throw;
  } catch (const std::exception& e) {
    text = wire::text_of(e);
  } catch (...) {
    text = text_of_value(std::current_exception());
  }
  throw SerializationError(fmt::format("{} could not be {}: {}", what, deed, text));
}

std::exception_ptr unpack_exception_object(const Object& object, int worker_pid, const std::string& task_name) {
  const Bytes none;
  const ResultScope scope(none);  // no shared memory comes with an exception
  const auto items = unpack_array(object, fields);
  RemoteException origin(wire::printable(unpack_string(items[0]), wire::Lines::one, wire::most_words), task_name,
                         worker_pid);
  ThrowPlaces::of(origin) = unpack_place(items[5]);
  std::exception_ptr nested;
  if (items[4].type != msgpack::type::NIL) nested = unpack_exception_object(items[4], worker_pid, task_name);
  const bool nests = nested != nullptr;
  const auto type = items[2].type == msgpack::type::STR ? find_type(unpack_string(items[2])) : std::nullopt;
  if (type)
    if (auto made = make_handling(nested, [&] { return make_itself(*type, items[3], origin, nests); })) return made;
  const std::string text = wire::printable(unpack_string(items[1]), wire::Lines::one, wire::most_text);
  return make_handling(nested, [&] { return deliver(RemoteError(text, origin), nests); });
}

std::exception_ptr unpack_exception(std::span<const std::byte> packed, int worker_pid, const std::string& task_name) {
  try {
    const Message message(packed);
    return unpack_exception_object(message.object(), worker_pid, task_name);
  } catch (const std::exception& error) {
    return std::make_exception_ptr(SerializationError(
        fmt::format("task '{}' threw, but its exception could not be unpacked: {}", task_name, text_of(error.what()))));
  }
}

}  // namespace yoke::detail
