-- Captions, and what can be made of their words: how fast people speak, and who says what.
--
--   rechka run pipelines/words.sql
--   rechka sql -e "SELECT * FROM pace"
--   rechka consume mentions --follow

CREATE STREAM audio WITH (topic = 'audio-stream', format = 'audio', partitions = 4);

CREATE STREAM transcripts AS
  SELECT * FROM TRANSCRIBE(audio, model => 'digits', language => 'en');

CREATE STREAM words AS
  SELECT * FROM WORDS(transcripts);

-- Words a minute, as they come. (As a stream, or without 'update', a minute would be counted once: when it is half a minute old, and
-- somebody speaks on.)
CREATE MATERIALIZED VIEW pace WITH (output_mode = 'update') AS
  SELECT session, window_start, window_end, count(*) AS words, round(avg(probability), 3) AS probability
  FROM TUMBLE(words, ts, INTERVAL '1 minute')
  GROUP BY session, window_start, window_end;

-- An alert as soon as the segment is final in which the word was said.
CREATE STREAM mentions AS
  SELECT session, ts, word FROM words WHERE lower(word) = 'seven';

CREATE MATERIALIZED VIEW vocabulary AS
  SELECT lower(word) AS word, count(*) AS times FROM words GROUP BY lower(word);
