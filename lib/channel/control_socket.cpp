#include "lib/channel/control_socket.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace yoke::channel {

std::pair<system::UniqueFd, system::UniqueFd> make_control_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    throw std::system_error(errno, std::system_category(), "socketpair");
  return {system::above_stdio(system::UniqueFd(ends[0])), system::above_stdio(system::UniqueFd(ends[1]))};
}

bool send_control(int socket, ControlKind kind, std::uint64_t number, std::span<const std::byte> body,
                  int descriptor) noexcept {
  ControlHead head{kind, static_cast<std::uint32_t>(body.size()), number};
  iovec parts[2] = {{&head, sizeof head}, {const_cast<std::byte*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    message.msg_control = ancillary;
    message.msg_controllen = sizeof ancillary;
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  }
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof head + body.size());
}

Receipt receive_control(int socket, ControlMessage& message) noexcept {
  iovec parts[2] = {{&message.head, sizeof message.head}, {message.body, sizeof message.body}};
  msghdr received{};
  received.msg_iov = parts;
  received.msg_iovlen = 2;
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))];
  received.msg_control = ancillary;
  received.msg_controllen = CMSG_LEN(sizeof(int));  // not what is there: its padding has room for another descriptor
  message.descriptor.reset();
  ssize_t length;
  // The kernel says once that the other side died with messages unread; what it had sent before is there all the same.
  do length = ::recvmsg(socket, &received, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  while (length < 0 && (errno == EINTR || errno == ECONNRESET));
  if (length < 0) return Receipt::nothing;  // a message of no bytes may bring a descriptor too
  for (cmsghdr* part = CMSG_FIRSTHDR(&received); part; part = CMSG_NXTHDR(&received, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(part), sizeof descriptor);
    message.descriptor.reset(descriptor);  // there is room for one alone: the kernel drops others
  }
  if (static_cast<std::size_t>(length) < sizeof message.head || (received.msg_flags & MSG_TRUNC) != 0)
    return length == 0 && !message.descriptor && (received.msg_flags & MSG_CTRUNC) == 0 ? Receipt::nothing
                                                                                        : Receipt::malformed;
  message.body_length = static_cast<std::size_t>(length) - sizeof message.head;
  if (message.body_length != message.head.length) return Receipt::malformed;
  const bool lost = (received.msg_flags & MSG_CTRUNC) != 0;
  if (lost && message.descriptor) return Receipt::malformed;  // several, of which there is room for one
  return lost ? Receipt::without_descriptor : Receipt::message;
}

}  // namespace yoke::channel
