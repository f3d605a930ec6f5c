// ProtocolError: the other side broke the rules of what it may say.
#pragma once

#include "yoke/error.hpp"

namespace yoke::wire {

class ProtocolError : public Error {
 public:
  using Error::Error;
};

}  // namespace yoke::wire
