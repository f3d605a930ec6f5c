// An exception of a standard or registered type arrives as itself; a death says what there is to know.
#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <yoke/yoke.hpp>

struct ParseError : std::exception {
  int line;
  explicit ParseError(int l = 0) : line(l) {}
  const char* what() const noexcept override { return "a bracket is missing"; }
  MSGPACK_DEFINE(line)
};
YOKE_EXCEPTION(ParseError)

struct Unregistered : std::logic_error {
  using std::logic_error::logic_error;
};

void parse(int which) {
  if (which == 0) throw ParseError(12);
  if (which == 1) throw Unregistered("no such thing");
  std::raise(SIGKILL);
}

int main() {
  yoke::ProcessPoolExecutor pool(1);
  for (int i = 0; i < 3; ++i) try {
      pool.submit({.name = "reader"}, parse, i).get();
    } catch (const ParseError& error) {
      std::printf("line %d: %s\n", error.line, error.what());
    } catch (const yoke::RemoteError& error) {
      std::printf("%s of task %s: %s\n", error.type_name().c_str(), error.task_name().c_str(), error.what());
    } catch (const yoke::TerminatedWorkerError& error) {
      const yoke::WorkerDeath& death = error.death();
      std::printf("%s, phase %s: signal %d\n", death.task.c_str(), to_string(death.phase), death.signal);
    }
}
