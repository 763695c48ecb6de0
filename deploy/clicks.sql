CREATE STREAM clicks (user_id BIGINT, item_id BIGINT, kind TEXT, ts TIMESTAMP,
                      WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (topic = 'user-events', format = 'json', partitions = 6, key = 'user_id', idle_timeout = '10 seconds');

CREATE STREAM clicks_per_minute AS
  SELECT window_start, window_end, kind, count(*) AS clicks
  FROM TUMBLE(clicks, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, kind;

CREATE MATERIALIZED VIEW users AS
  SELECT user_id, count(*) AS clicks, max(ts) AS last_seen FROM clicks GROUP BY user_id;
