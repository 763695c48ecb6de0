-- How many events each user has in windows of ten seconds; rows that changed are written in every epoch.
CREATE STREAM events_TAG (id BIGINT, user_id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 second')
  WITH (topic = 'INPUT', format = 'json', partitions = 4);

CREATE STREAM counts_TAG WITH (topic = 'OUTPUT', output_mode = 'update') AS
  SELECT user_id, window_start, count(*) AS n
  FROM TUMBLE(events_TAG, ts, INTERVAL '10 seconds')
  GROUP BY user_id, window_start, window_end;
