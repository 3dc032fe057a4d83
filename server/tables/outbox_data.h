// The SQL of `event_data`; ParseOutboxEvent reads it back, schema/README.md documents it.
#ifndef EVENTSTORE_SERVER_TABLES_OUTBOX_DATA_H_
#define EVENTSTORE_SERVER_TABLES_OUTBOX_DATA_H_

// A time as RFC 3339 in UTC with microseconds, whatever the session's settings are.
#define EVENTSTORE_OUTBOX_TIME(column) \
  "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

// What names an event and its place, which stays when its content is erased: members of an object,
// of `e`, a row of events.
#define EVENTSTORE_OUTBOX_PLACE                                                                    \
  "'event_id', e.event_id, 'event_type', e.event_type, 'aggregate_type',"                          \
  " e.aggregate_type, 'aggregate_id', e.aggregate_id, 'tenant_id', e.tenant_id,"                   \
  " 'version', e.version, 'global_position', e.global_position, "                                  \
  "'timestamp', " EVENTSTORE_OUTBOX_TIME("e.timestamp") ", 'created_at', " EVENTSTORE_OUTBOX_TIME( \
      "e.created_at") ", 'schema_version', e.schema_version"

// The whole event.
#define EVENTSTORE_OUTBOX_DATA                                                           \
  "jsonb_build_object(" EVENTSTORE_OUTBOX_PLACE                                          \
  ", 'content_type', coalesce(e.content_type, 'application/json'), 'actor_id',"          \
  " e.actor_id, 'correlation_id', e.correlation_id, 'causation_id', e.causation_id,"     \
  " 'metadata', coalesce(e.metadata, '{}'::jsonb), 'tags', coalesce(to_jsonb(e.tags),"   \
  " '[]'::jsonb), CASE WHEN e.payload IS NULL THEN 'payload_base64' ELSE 'payload' END," \
  " coalesce(e.payload, to_jsonb(translate(encode(e.payload_binary, 'base64'),"          \
  " chr(10), ''))))"

// What is left of it after its erasure.
#define EVENTSTORE_OUTBOX_ERASED_DATA           \
  "jsonb_build_object(" EVENTSTORE_OUTBOX_PLACE \
  ", 'content_type', 'application/x-erased', 'erased', true)"

#endif  // EVENTSTORE_SERVER_TABLES_OUTBOX_DATA_H_
