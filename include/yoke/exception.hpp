// YOKE_EXCEPTION(MyError): lets an exception type of the user's cross from a worker as itself.
//
// At namespace scope, in code that caller and worker share. The type needs a constructor from std::string, or a codec
// (MSGPACK_DEFINE or yoke::Codec), which then carries its members. It arrives as an object that derives both from
// MyError and from yoke::RemoteException.
#pragma once

#include "yoke/language.hpp"

#include <exception>
#include <string>
#include <typeinfo>

#include "yoke/codec.hpp"
#include "yoke/error.hpp"
#include "yoke/join.hpp"

namespace yoke::detail {

template <class E>
class RemoteOf : public E, public RemoteException {
 public:
  RemoteOf(E error, RemoteException origin) : E(std::move(error)), RemoteException(std::move(origin)) {}
};

/// The same with the exception that is being handled nested in it.
template <class Remote>
class Nesting final : public Remote, public std::nested_exception {
 public:
  explicit Nesting(Remote error) : Remote(std::move(error)) {}
};

template <class Remote>
std::exception_ptr deliver(Remote error, bool nests) {
  if (nests) return std::make_exception_ptr(Nesting<Remote>(std::move(error)));
  return std::make_exception_ptr(std::move(error));
}

/// How one exception type crosses: `pack` gets the object that was caught, `make` builds the one that is thrown again;
/// it is called while the nested exception is handled, if one `nests`.
struct ExceptionType {
  const std::type_info* type;
  void (*pack)(Packer&, const std::exception& error);
  std::exception_ptr (*make)(const Object& packed, const RemoteException& origin, bool nests);
};

YOKE_API void register_exception(const ExceptionType& type);
YOKE_API void forget_exception(const ExceptionType& type) noexcept;

/// For as long as the module is loaded that says so.
class RegisteredException {
 public:
  explicit RegisteredException(const ExceptionType& type) : type_(type) { register_exception(type_); }
  ~RegisteredException() { forget_exception(type_); }
  RegisteredException(const RegisteredException&) = delete;
  RegisteredException& operator=(const RegisteredException&) = delete;

 private:
  const ExceptionType type_;
};

template <class E>
struct ExceptionCrossing {
  static_assert(std::is_base_of_v<std::exception, E>, "yoke: YOKE_EXCEPTION takes a type derived from std::exception");
  static_assert(!std::is_final_v<E>,
                "yoke: an exception type of YOKE_EXCEPTION cannot be final: it arrives as an object of a class derived "
                "from it. Remove final, or let it arrive as a yoke::RemoteError");
  static_assert(!std::is_abstract_v<E>,
                "yoke: an exception type of YOKE_EXCEPTION cannot be abstract: name the types that are thrown");
  static_assert(std::is_copy_constructible_v<E>,
                "yoke: an exception type of YOKE_EXCEPTION must be copyable, as what is thrown has to be");
  static_assert(
      OwnCodec<E> || MsgpackDefined<E> || std::is_constructible_v<E, std::string>,
      "yoke: an exception type of YOKE_EXCEPTION needs a constructor from std::string, which gets the text of "
      "what(), or a codec (MSGPACK_DEFINE or yoke::Codec), which carries its members");

  static void pack(Packer& packer, const std::exception& error) {
    if constexpr (OwnCodec<E> || MsgpackDefined<E>)
      pack_value<E>(packer, dynamic_cast<const E&>(error));
    else
      pack_value<std::string>(packer, error.what());
  }
  static std::exception_ptr make(const Object& packed, const RemoteException& origin, bool nests) {
    if constexpr (OwnCodec<E> || MsgpackDefined<E>)
      return deliver(RemoteOf<E>(unpack_value<E>(packed), origin), nests);
    else
      return deliver(RemoteOf<E>(E(unpack_value<std::string>(packed)), origin), nests);
  }
};

}  // namespace yoke::detail

#define YOKE_EXCEPTION(Type)                                                                                          \
  namespace {                                                                                                         \
  const ::yoke::detail::RegisteredException YOKE_JOIN(yoke_exception_,                                                \
                                                      __COUNTER__)({&typeid(Type),                                    \
                                                                    &::yoke::detail::ExceptionCrossing<Type>::pack,   \
                                                                    &::yoke::detail::ExceptionCrossing<Type>::make}); \
  }
