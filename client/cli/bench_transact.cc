// bench transact: transactions of one append that depend on a condition, many in flight.
#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include "client/cli/bench.h"

namespace eventstore::cli {
namespace {

// One operation's memory, used again and again.
struct TransactSlot {
  std::optional<grpc::ClientContext> context;
  v1::TransactRequest request;
  v1::TransactResponse response;
  std::mt19937_64 random{std::random_device{}()};
};

// Each transaction has a tag of `--tags` tags, and requires that no event of the type that it never
// writes has that tag: what is sought in the tables is there or not, and the condition holds.
class TransactWorkload : public Workload {
 public:
  explicit TransactWorkload(const BenchContext& context)
      : bench_(context), slots_(static_cast<std::size_t>(context.options.in_flight)) {}

  void Start(int slot, LoadDriver::TimePoint /*intended*/) override {
    TransactSlot& used = slots_[static_cast<std::size_t>(slot)];
    used.context.emplace();
    bench_.session->SetDeadline(&*used.context);
    if (used.request.appends().empty()) used.request.add_appends();
    bench_.events->Fill(used.request.mutable_appends(0), &used.random);
    SetTag(&used);
    bench_.connections->ForSlot(slot).async()->Transact(
        &*used.context, &used.request, &used.response, [this, slot](const grpc::Status& status) {
          if (status.ok()) {
            NoteAnswer(slots_[static_cast<std::size_t>(slot)].response);
            bench_.driver->Finish(slot, bench_.options.events_per_append);
          } else {
            bench_.driver->Fail(slot, FailureReason(status));
          }
        });
  }

  // Every call has a deadline: all end by themselves.
  void Cancel() override {}

 private:
  void SetTag(TransactSlot* slot) const {
    const auto tags = static_cast<std::uint64_t>(bench_.options.tags);
    const std::string tag = fmt::format("tag-{}", slot->random() % tags);
    for (v1::NewEvent& event : *slot->request.mutable_appends(0)->mutable_events()) {
      event.clear_tags();
      event.add_tags(tag);
    }
    if (bench_.options.condition == "none") return;
    if (slot->request.conditions().empty()) {
      slot->request.add_conditions()->add_query()->add_event_types("NeverWritten");
    }
    v1::QueryItem* item = slot->request.mutable_conditions(0)->mutable_query(0);
    item->clear_tags();
    item->add_tags(tag);
    if (bench_.options.condition != "recent") return;
    slot->request.mutable_conditions(0)->set_after_position(newest_.load());
  }
  void NoteAnswer(const v1::TransactResponse& response) {
    if (response.results().empty()) return;
    const std::int64_t position = response.results(0).last_position();
    std::int64_t newest = newest_.load();
    while (position > newest && !newest_.compare_exchange_weak(newest, position)) {
    }
  }

  const BenchContext bench_;
  std::vector<TransactSlot> slots_;
  std::atomic<std::int64_t> newest_{0};  // position that an answer told
};

}  // namespace

std::unique_ptr<Workload> MakeTransactWorkload(const BenchContext& context) {
  return std::make_unique<TransactWorkload>(context);
}

}  // namespace eventstore::cli
