-- What the list of sessions shows of each: found at once however long its log is. The types are sqlite_reads.NEWS.
CREATE INDEX event_news ON event (session_id, type, seq)
    WHERE type IN ('agent_status', 'assistant_message', 'error', 'result');
