#include "server/engine/groups/groups.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "server/core/errors.h"
#include "server/core/validate_groups.h"
#include "server/engine/store_errors.h"
#include "server/tables/consumer_groups_table.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kRequestsMax = 1'000;
// Tries of an update that others were faster than.
constexpr int kUpdateTriesMax = 5;

absl::StatusOr<v1::ConsumerGroup> UpdateSettings(const v1::UpdateConsumerGroupRequest& request,
                                                 pg::Connection& connection, Deadline deadline) {
  for (int i = 0; i < kUpdateTriesMax; ++i) {
    auto row = tables::ReadGroup(connection, request.name(), deadline);
    if (!row.ok()) return row.status();
    const std::int64_t expected = request.expected_revision();
    if (expected != 0 && expected != row->revision) {
      v1::ErrorInfo info;
      info.set_reason(v1::ERROR_REASON_CONDITION_FAILED);
      info.set_field("expected_revision");
      info.set_actual(row->revision);
      info.set_message(
          "the group's settings were changed by somebody else; read them and decide "
          "again");
      return MakeError(std::move(info));
    }
    absl::Status merged = MergeGroupSettings(request.settings(), &row->settings);
    if (!merged.ok()) return merged;
    auto updated = tables::UpdateGroup(connection, *row, deadline);
    if (!updated.ok()) return updated.status();
    if (*updated) return tables::DescribeGroup(connection, request.name(), deadline);
  }
  return Overloaded("updates of a group", kUpdateTriesMax, std::chrono::milliseconds(200),
                    "others change this group all the time");
}

}  // namespace

Groups::Groups(const StoreOptions& options, const Uuid& daemon_id, std::string store_id,
               pg::Pool* pool, Reader* reader, Hub* hub, telemetry::Metrics* metrics)
    : options_(options),
      pool_(pool),
      context_{&options,
               daemon_id,
               std::move(store_id),
               reader,
               hub,
               metrics,
               [this](std::function<void()> work) { groups_thread_.Post(std::move(work)); },
               [this](std::unique_ptr<GroupRound> round,
                      std::function<void(std::unique_ptr<GroupRound>)> done) {
                 RunRound(std::move(round), std::move(done));
               }},
      groups_thread_([this] { return Work(); }) {}

Groups::~Groups() { Stop(Clock::now()); }

void Groups::RunRound(std::unique_ptr<GroupRound> round,
                      std::function<void(std::unique_ptr<GroupRound>)> done) {
  // std::function wants copies.
  auto shared = std::make_shared<std::unique_ptr<GroupRound>>(std::move(round));
  const auto finish = [this, shared, done] {
    groups_thread_.Post([shared, done] { done(std::move(*shared)); });
  };
  const bool posted = database_thread_.Post([this, shared, finish] {
    const auto patience =
        std::max<std::chrono::milliseconds>((*shared)->lease, std::chrono::milliseconds(1'000));
    (*shared)->Run(pool_, Clock::now() + patience);
    finish();
  });
  if (posted) return;
  (*shared)->status = StoreUnavailable("the server is shutting down");
  finish();
}

Deadline Groups::Work() {
  Deadline next = Deadline::max();
  for (auto it = groups_.begin(); it != groups_.end();) {
    const std::shared_ptr<Group> group = it->second;
    next = std::min(next, group->WorkIfDue());
    it = group->is_over() ? groups_.erase(it) : std::next(it);
  }
  MutexLock lock(&mutex_);
  is_empty_ = groups_.empty();
  changed_.NotifyAll();
  return next;
}

absl::StatusOr<std::shared_ptr<GroupMember>> Groups::Join(
    v1::ConsumeJoin join, std::function<void(absl::Status)> on_dropped) {
  {
    MutexLock lock(&mutex_);
    if (stopped_) return StoreUnavailable("the server is shutting down");
    if (members_ >= options_.groups.members_max) {
      return Overloaded("groups.members_max", options_.groups.members_max,
                        std::chrono::milliseconds(5'000), "too many members of consumer groups");
    }
    ++members_;
  }
  const std::shared_ptr<GroupMember> made(
      new GroupMember(this, std::move(join), std::move(on_dropped)), [this](GroupMember* member) {
        delete member;
        MutexLock lock(&mutex_);
        --members_;
      });
  groups_thread_.Post([this, made] {
    auto& group = groups_[made->join_.group()];
    // A deleted group takes no members; one of the same name may exist again.
    if (group == nullptr || group->is_ended()) {
      group = std::make_shared<Group>(&context_, made->join_.group());
    }
    if (is_draining_) group->Drain(StoreUnavailable("the server is shutting down"));
    group->Join(made);
  });
  return made;
}

void GroupMember::RequestNext(Next next) {
  auto shared = std::make_shared<Next>(std::move(next));
  const bool posted = groups_->groups_thread_.Post([self = shared_from_this(), shared] {
    self->taking_since_ = Deadline::max();
    if (self->group_ == nullptr) {
      (*shared)(absl::CancelledError("the membership is over"));
    } else {
      self->next_ = std::move(*shared);
      self->group_->Wake();
    }
  });
  if (!posted) (*shared)(StoreUnavailable("the server is shutting down"));
}

void GroupMember::Handle(v1::ConsumeRequest request, std::function<void()> done) {
  const bool posted =
      groups_->groups_thread_.Post([self = shared_from_this(), request = std::move(request), done] {
        if (self->group_ != nullptr) self->group_->Handle(self, request);
        done();
      });
  if (!posted) done();
}

void GroupMember::Leave() {
  groups_->groups_thread_.Post([self = shared_from_this()] {
    if (self->group_ != nullptr) std::shared_ptr<Group>(self->group_)->Leave(self, false);
  });
}

void GroupMember::Break() {
  groups_->groups_thread_.Post([self = shared_from_this()] {
    if (self->group_ != nullptr) std::shared_ptr<Group>(self->group_)->Leave(self, true);
  });
}

template <typename T>
void Groups::Request(Deadline deadline,
                     std::function<absl::StatusOr<T>(pg::Connection&, Deadline)> work,
                     Done<T> done) {
  const bool posted = request_thread_.Post(
      [this, deadline, work = std::move(work), done] {
        const Deadline until = std::min(deadline, Clock::now() + options_.reader.max_wait_ms);
        if (Clock::now() >= until) {
          return done(absl::DeadlineExceededError("the deadline passed before it was begun"));
        }
        auto connection = pool_->Acquire(until);
        if (!connection.ok()) return done(ToStoreError(connection.status()));
        auto result = work(**connection, until);
        if (!result.ok()) return done(ToStoreError(result.status()));
        done(std::move(result));
      },
      kRequestsMax);
  if (posted) return;
  bool stopped = false;
  {
    MutexLock lock(&mutex_);
    stopped = stopped_;
  }
  done(stopped ? StoreUnavailable("the server is shutting down")
               : Overloaded("requests for consumer groups", kRequestsMax,
                            std::chrono::milliseconds(500), "too many requests wait"));
}

void Groups::Create(v1::CreateConsumerGroupRequest request, Deadline deadline,
                    Done<v1::ConsumerGroup> done) {
  Request<v1::ConsumerGroup>(
      deadline,
      [request = std::move(request)](pg::Connection& connection,
                                     Deadline until) -> absl::StatusOr<v1::ConsumerGroup> {
        absl::Status made = tables::CreateGroup(connection, request, until);
        if (!made.ok()) return made;
        return tables::DescribeGroup(connection, request.name(), until);
      },
      std::move(done));
}

void Groups::Update(v1::UpdateConsumerGroupRequest request, Deadline deadline,
                    Done<v1::ConsumerGroup> done) {
  Request<v1::ConsumerGroup>(
      deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until) {
        return UpdateSettings(request, connection, until);
      },
      std::move(done));
}

void Groups::Delete(std::string name, Deadline deadline,
                    Done<v1::DeleteConsumerGroupResponse> done) {
  Request<v1::DeleteConsumerGroupResponse>(
      deadline,
      [name = std::move(name)](pg::Connection& connection,
                               Deadline until) -> absl::StatusOr<v1::DeleteConsumerGroupResponse> {
        absl::Status deleted = tables::DeleteGroup(connection, name, until);
        if (!deleted.ok()) return deleted;
        return v1::DeleteConsumerGroupResponse();
      },
      std::move(done));
}

void Groups::Get(std::string name, Deadline deadline, Done<v1::ConsumerGroup> done) {
  Request<v1::ConsumerGroup>(
      deadline,
      [name = std::move(name)](pg::Connection& connection, Deadline until) {
        return tables::DescribeGroup(connection, name, until);
      },
      std::move(done));
}

void Groups::List(v1::ListConsumerGroupsRequest request, Deadline deadline,
                  Done<v1::ListConsumerGroupsResponse> done) {
  Request<v1::ListConsumerGroupsResponse>(
      deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until) {
        return tables::ListGroups(connection, request, until);
      },
      std::move(done));
}

void Groups::Forget(const tables::LogChanges& changes) {
  if (changes.erased.empty() && !changes.anything) return;
  auto shared = std::make_shared<tables::LogChanges>(changes);
  groups_thread_.Post([this, shared] {
    for (const auto& [name, group] : groups_) group->Forget(*shared);
  });
}

void Groups::Settle(std::function<void()> done) {
  if (!groups_thread_.Post(done)) done();
}

void Groups::Stop(Deadline deadline) {
  bool first = false;
  {
    MutexLock lock(&mutex_);
    first = !std::exchange(stopped_, true);
    is_empty_ = is_empty_ && !first;
  }
  if (first) {
    groups_thread_.Post([this] {
      is_draining_ = true;
      for (const auto& [name, group] : groups_) {
        group->Drain(StoreUnavailable("the server is shutting down"));
      }
    });
    MutexLock lock(&mutex_);
    while (!is_empty_ && Clock::now() < deadline) changed_.WaitUntil(&mutex_, deadline);
    if (!is_empty_) spdlog::warn("consumer groups: lanes are left to the end of their leases");
  }
  request_thread_.Stop();
  database_thread_.Stop();
  groups_thread_.Stop();
  groups_.clear();
}

}  // namespace eventstore::engine
