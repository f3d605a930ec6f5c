// Mutex, Lock: as std::mutex and std::unique_lock, and known to clang, which checks at compile time that state is
// touched under its lock alone (-Wthread-safety).
#pragma once

#include <mutex>

#if defined(__clang__)
#define YOKE_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define YOKE_THREAD_SAFETY(attribute)
#endif
#define YOKE_GUARDED_BY(mutex) YOKE_THREAD_SAFETY(guarded_by(mutex))
#define YOKE_REQUIRES(...) YOKE_THREAD_SAFETY(requires_capability(__VA_ARGS__))
#define YOKE_EXCLUDES(...) YOKE_THREAD_SAFETY(locks_excluded(__VA_ARGS__))

namespace yoke::system {

class YOKE_THREAD_SAFETY(capability("mutex")) Mutex {
 public:
  void lock() YOKE_THREAD_SAFETY(acquire_capability()) { mutex_.lock(); }
  void unlock() YOKE_THREAD_SAFETY(release_capability()) { mutex_.unlock(); }
  bool try_lock() YOKE_THREAD_SAFETY(try_acquire_capability(true)) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

class YOKE_THREAD_SAFETY(scoped_lockable) Lock {
 public:
  explicit Lock(Mutex& mutex) YOKE_THREAD_SAFETY(acquire_capability(mutex)) : mutex_(mutex) { mutex_.lock(); }
  Lock(Mutex& mutex, std::adopt_lock_t) YOKE_THREAD_SAFETY(requires_capability(mutex)) : mutex_(mutex) {}
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() YOKE_THREAD_SAFETY(release_capability()) {
    if (owns_) mutex_.unlock();
  }
  void lock() YOKE_THREAD_SAFETY(acquire_capability()) {
    mutex_.lock();
    owns_ = true;
  }
  void unlock() YOKE_THREAD_SAFETY(release_capability()) {
    owns_ = false;
    mutex_.unlock();
  }

 private:
  Mutex& mutex_;
  bool owns_ = true;
};

}  // namespace yoke::system
