#include "server/core/erased_event.h"

namespace eventstore {

void EraseContent(v1::Event* event) {
  event->clear_payload();
  event->set_content_type(kErasedContentType.data(), kErasedContentType.size());
  event->clear_metadata();
  event->clear_actor_id();
  event->clear_correlation_id();
  event->clear_causation_id();
  event->clear_tags();
  event->set_erased(true);
}

}  // namespace eventstore
