// The agent: what the program becomes on another machine. It runs a process pool there, and speaks with its client in
// frames on stdin and stdout, which user code gets /dev/null and stderr in place of.
//
// It ends, with all its workers, when its client says so, when the stream ends, or when it has heard nothing for the
// time of its lease.
#pragma once

namespace yoke::remote {

/// True if this process was started as an agent and has not begun to be one.
bool agent_pending() noexcept;

/// Does not return.
[[noreturn]] void run_agent();

}  // namespace yoke::remote
