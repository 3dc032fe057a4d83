#include "server/core/mutex.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

namespace eventstore {
namespace {

struct Counter {
  Mutex mutex;
  CondVar changed;
  int value ABSL_GUARDED_BY(mutex) = 0;
};

TEST_CASE("AMutexExcludes") {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&counter] {
      for (int j = 0; j < 10000; ++j) {
        MutexLock lock(&counter.mutex);
        ++counter.value;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(&counter.mutex);
  CHECK(counter.value == 40000);
}

TEST_CASE("AConditionVariableWakesItsWaiterWhichHoldsTheMutexAgain") {
  Counter counter;
  std::thread waker([&counter] {
    MutexLock lock(&counter.mutex);
    counter.value = 1;
    counter.changed.NotifyAll();
  });
  {
    MutexLock lock(&counter.mutex);
    while (counter.value == 0) counter.changed.Wait(&counter.mutex);
    CHECK(counter.value == 1);
  }
  waker.join();
}

TEST_CASE("AWaitEndsAtItsDeadline") {
  Counter counter;
  MutexLock lock(&counter.mutex);
  const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  while (counter.changed.WaitUntil(&counter.mutex, deadline)) {
  }
  CHECK(std::chrono::steady_clock::now() >= deadline);
}

}  // namespace
}  // namespace eventstore
