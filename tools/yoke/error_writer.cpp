// The types and fields of exceptions, as JSON.
#include "error_writer.hpp"

#include <string.h>

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <iterator>
#include <yoke/error.hpp>

#include "json_writer.hpp"
#include "lib/wire/printable.hpp"
#include "signature.hpp"

namespace yoke::tools {
namespace {

struct Frame {
  std::string_view function, file;
  int line = 0;  // 0: not known
};

/// Takes "function at file:line" apart.
Frame parse_frame(std::string_view text) {
  Frame frame{text, {}, 0};
  const auto at = text.rfind(" at ");
  if (at == std::string_view::npos) return frame;
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon < at) return frame;
  const std::string_view line = text.substr(colon + 1);
  if (std::from_chars(line.data(), line.data() + line.size(), frame.line).ec != std::errc()) return frame;
  frame.function = text.substr(0, at);
  frame.file = text.substr(at + 4, colon - at - 4);
  return frame;
}

/// An object of the fields that are known.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
  ~ObjectWriter() { out_ += '}'; }
  ObjectWriter(const ObjectWriter&) = delete;
  ObjectWriter& operator=(const ObjectWriter&) = delete;

  std::string& key(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    append_json_key(out_, name);
    return out_;
  }
  void text(std::string_view name, std::string_view value) { append_json_string(key(name), value); }
  template <class T>
  void number(std::string_view name, T value) {
    fmt::format_to(std::back_inserter(key(name)), "{}", value);
  }

 private:
  std::string& out_;
  bool first_ = true;
};

void append_death(std::string& out, const WorkerDeath& death) {
  ObjectWriter object(out);
  object.number("pid", death.pid);
  object.number("rank", death.rank);
  if (!death.host.empty()) object.text("host", death.host);
  if (death.signal != 0) {
    object.text("signal", signal_name(death.signal));
    object.number("signal_number", death.signal);
  } else if (death.status_known) {
    object.number("exit_code", death.exit_code);
  }
  if (death.fault_address) object.text("address", fmt::format("{:#x}", *death.fault_address));
  if (!death.frames.empty()) {
    const Frame frame = parse_frame(death.frames.front());
    object.text("function", frame.function);
    if (frame.line != 0) {
      object.text("file", frame.file);
      object.number("line", frame.line);
    }
  }
  object.text("task", death.task);
  object.text("phase", to_string(death.phase));
  object.number("run_time_ms", std::chrono::duration<double, std::milli>(death.run_time).count());
  if (death.peak_memory != 0) object.number("peak_memory", death.peak_memory);
  object.number("out_of_memory", death.out_of_memory);
  if (!death.reason.empty()) object.text("reason", death.reason);
  std::string& frames = object.key("frames");
  frames += '[';
  for (std::size_t i = 0; i < death.frames.size(); ++i) {
    if (i > 0) frames += ',';
    append_json_string(frames, death.frames[i]);
  }
  frames += ']';
}

std::string type_of(const std::exception& error) {
  const auto* remote = dynamic_cast<const RemoteException*>(&error);
  std::string type = remote ? remote->type_name() : type_name(typeid(error));
  constexpr std::string_view nested = "std::_Nested_exception<";  // what std::throw_with_nested makes of a type
  if (type.starts_with(nested) && type.ends_with('>'))
    type = type.substr(nested.size(), type.size() - nested.size() - 1);
  return type;
}

/// Calls one of the two with what the pointer holds.
template <class Known, class Unknown>
void look_at(const std::exception_ptr& pointer, Known known, Unknown unknown) {
  try {
    std::rethrow_exception(pointer);
  } catch (const std::exception& error) {
    known(error);
  } catch (...) {
    unknown();
  }
}

std::exception_ptr nested_in(const std::exception& error) {
  const auto* nested = dynamic_cast<const std::nested_exception*>(&error);
  return nested ? nested->nested_ptr() : nullptr;
}

void append_known(std::string& out, const std::exception& error, std::string_view hint, int depth) {
  constexpr int deepest = 20;
  ObjectWriter object(out);
  object.text("type", type_of(error));
  const bool hinted = !hint.empty() && dynamic_cast<const SerializationError*>(&error);
  object.text("message", hinted ? fmt::format("{}; {}", error.what(), hint) : error.what());
  if (const auto* died = dynamic_cast<const TerminatedWorkerError*>(&error))
    append_death(object.key("cause"), died->death());
  const auto inner = depth < deepest ? nested_in(error) : nullptr;
  if (!inner) return;
  std::string& place = object.key("nested");
  look_at(
      inner, [&](const std::exception& nested) { append_known(place, nested, {}, depth + 1); },
      [&] { place += "null"; });
}

}  // namespace

std::string signal_name(int signal) {
  const char* abbreviation = ::sigabbrev_np(signal);
  return abbreviation ? fmt::format("SIG{}", abbreviation) : fmt::format("signal {}", signal);
}

void append_error_json(std::string& out, const std::exception_ptr& error, std::string_view hint) {
  look_at(
      error, [&](const std::exception& known) { append_known(out, known, hint, 0); },
      [&] { out += R"({"type":"unknown","message":"something that is no std::exception"})"; });
}

std::string describe(const std::exception_ptr& error) {
  std::string text = "unknown: something that is no std::exception";
  look_at(
      error,
      [&](const std::exception& known) {
        const std::string_view what = known.what();
        text = wire::printable(fmt::format("{}: {}", type_of(known), what.substr(0, what.find('\n'))), wire::Lines::one,
                               wire::most_words);
      },
      [] {});
  return text;
}

}  // namespace yoke::tools
