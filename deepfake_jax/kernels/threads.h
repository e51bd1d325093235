// Work shared by XLA's own threads, and memory that is kept from call to call.
//
// Who does which task depends on the threads, what a task does never: sums are split by
// shapes alone, so that the same operands give the same bits on any number of threads.

#pragma once

#include <sys/mman.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace kernels {

// Aligned memory that grows; fresh pages cost as much as the arithmetic on them.
class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Memory() { std::free(data_); }

  size_t size() const { return size_; }

  // At least `bytes`, of any content but finite numbers: fresh memory is zeroed.
  void* Take(size_t bytes) {
    if (bytes <= size_) return data_;
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
    constexpr size_t kPage = size_t{1} << 21;
    const size_t alignment = bytes >= kPage ? kPage : 4096;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data_ = std::aligned_alloc(alignment, rounded);
    if (data_ == nullptr) throw std::bad_alloc();
    if (rounded >= kPage) madvise(data_, rounded, MADV_HUGEPAGE);
    std::memset(data_, 0, rounded);
    size_ = rounded;
    return data_;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Memory of one call, shared by its threads, and given back for the next call.
class Lease {
 public:
  explicit Lease(size_t bytes) {
    // Large memory is not lent for little: the next large call would need as much again.
    constexpr size_t kMost = 32, kLoose = 4, kLittle = size_t{1} << 20;
    {
      std::lock_guard<std::mutex> lock(Mutex());
      auto& kept = Kept();
      size_t best = kept.size();
      for (size_t i = 0; i < kept.size(); ++i) {
        const size_t size = kept[i].size();
        const bool fits = size >= bytes && size <= kLoose * bytes + kLittle;
        if (fits && (best == kept.size() || size < kept[best].size())) best = i;
      }
      if (best == kept.size() && kept.size() >= kMost) best = 0;
      if (best < kept.size()) {
        memory_ = std::move(kept[best]);
        kept.erase(kept.begin() + best);
      }
    }
    data_ = memory_.Take(bytes);
  }
  ~Lease() {
    // A training step needs less; a program of many sizes would keep them all.
    constexpr size_t kMostBytes = size_t{2} << 30;
    std::lock_guard<std::mutex> lock(Mutex());
    size_t bytes = memory_.size();
    for (const Memory& memory : Kept()) bytes += memory.size();
    if (bytes <= kMostBytes) Kept().push_back(std::move(memory_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  static std::mutex& Mutex() {
    static auto* mutex = new std::mutex;
    return *mutex;
  }
  static std::vector<Memory>& Kept() {
    static auto* kept = new std::vector<Memory>;
    return *kept;
  }

  Memory memory_;
  void* data_ = nullptr;
};

struct NoSetup {
  NoSetup() {}
};

// Does task(0) to task(count - 1), each once, and returns when all are done. The caller
// works too and waits for none that has not begun, so that it cannot wait for itself.
// Throws std::bad_alloc if one of them did. A `Setup` lives while a thread works.
template <typename Setup>
void ForEach(xla::ffi::ThreadPool pool, int64_t count,
                    const std::function<void(int64_t)>& task) {
  struct Work {
    std::function<void(int64_t)> task;
    int64_t count;
    std::atomic<int64_t> next{0};
    std::atomic<bool> lacking{false};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all_done;

    void Run() {
      int64_t did = 0;
      {
        [[maybe_unused]] const Setup setup;
        for (int64_t i = next++; i < count; i = next++, ++did) {
          try {
            task(i);
          } catch (const std::bad_alloc&) {
            lacking = true;
          }
        }
      }
      std::lock_guard<std::mutex> lock(mutex);
      done += did;
      if (done == count) all_done.notify_all();
    }
  };
  auto work = std::make_shared<Work>();
  work->task = task;
  work->count = count;
  const int64_t helpers = std::min(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([work] { work->Run(); });
  work->Run();
  std::unique_lock<std::mutex> lock(work->mutex);
  work->all_done.wait(lock, [&] { return work->done == count; });
  if (work->lacking) throw std::bad_alloc();
}

}  // namespace kernels
