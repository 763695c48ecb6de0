-- A shop: what its visitors do becomes revenue, trends, sessions, conversions, anomalies and features.
--   rechka demo shop                 makes visitors up and runs this
--   rechka run pipelines/shop.sql    runs it over your own topics

CREATE STREAM clicks (
  user_id BIGINT, item_id BIGINT, kind TEXT, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (topic = 'user-events', format = 'json', partitions = 2, key = 'user_id', idle_timeout = '10 seconds');

CREATE STREAM purchases (
  order_id BIGINT, user_id BIGINT, item_id BIGINT, quantity BIGINT, price DOUBLE, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (topic = 'purchases', format = 'json', partitions = 2, key = 'user_id', idle_timeout = '10 seconds');

CREATE TABLE products (item_id BIGINT, name TEXT, category TEXT, price DOUBLE, PRIMARY KEY (item_id))
  WITH (path = 'shop/products.csv');

-- Enrichment: what was bought, with its name and category.
CREATE STREAM orders AS
  SELECT p.order_id, p.user_id, p.item_id, i.name, i.category, p.quantity * p.price AS amount, p.ts
  FROM purchases p JOIN products i ON p.item_id = i.item_id;

-- Revenue per minute and category: tumbling windows.
CREATE MATERIALIZED VIEW revenue AS
  SELECT window_start, window_end, category, count(*) AS orders, sum(amount) AS revenue
  FROM TUMBLE(orders, ts, INTERVAL '1 minute')
  GROUP BY window_start, window_end, category;

-- Trending items: the five most viewed of the last minute, every ten seconds.
CREATE MATERIALIZED VIEW trending AS
  SELECT t.window_end, t.place, i.name, t.views FROM (
    SELECT window_end, item_id, views,
           ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY views DESC, item_id) AS place
    FROM (
      SELECT window_start, window_end, item_id, count(*) AS views
      FROM HOP(clicks, ts, INTERVAL '10 seconds', INTERVAL '1 minute')
      WHERE kind = 'view'
      GROUP BY window_start, window_end, item_id)) t
  JOIN products i ON t.item_id = i.item_id
  WHERE place <= 5;

-- Visits: a user's clicks with less than thirty seconds between them.
CREATE STREAM visits AS
  SELECT user_id, window_start AS began, window_end AS ended, count(*) AS clicks, count(DISTINCT item_id) AS items
  FROM SESSION(clicks, ts, INTERVAL '30 seconds')
  GROUP BY user_id, window_start, window_end;

-- Conversion: purchases of something that the same user had put into the cart in the minute before.
CREATE STREAM conversions AS
  SELECT p.order_id, p.user_id, p.item_id, c.ts AS carted, p.ts AS bought
  FROM purchases p JOIN clicks c
    ON c.user_id = p.user_id AND c.item_id = p.item_id AND c.kind = 'cart'
   AND c.ts BETWEEN p.ts - INTERVAL '1 minute' AND p.ts;

-- Anomalies: products that are viewed in a minute far more, or less, than in each of the ten minutes before.
CREATE STREAM item_minutes AS
  SELECT window_start AS minute, window_time AS last_moment, item_id, count(*) AS views
  FROM TUMBLE(clicks, ts, INTERVAL '1 minute') WHERE kind = 'view'
  GROUP BY window_start, window_time, item_id;

CREATE STREAM item_history AS
  SELECT window_end AS minute, item_id, avg(views) AS mean, stddev(views) AS deviation
  FROM HOP(item_minutes, last_moment, INTERVAL '1 minute', INTERVAL '10 minutes')
  GROUP BY window_end, item_id HAVING count(*) >= 3;

CREATE MATERIALIZED VIEW anomalies WITH (key = 'minute, item_id') AS
  SELECT n.minute, n.item_id, i.name, n.views, h.mean, h.deviation
  FROM item_minutes n JOIN item_history h ON n.minute = h.minute AND n.item_id = h.item_id
  JOIN products i ON n.item_id = i.item_id
  WHERE abs(n.views - h.mean) > 4 * h.deviation + 20;

-- What a model would ask for a user, always up to date.
CREATE MATERIALIZED VIEW user_features AS
  SELECT user_id, count(*) AS clicks, count(*) FILTER (WHERE kind = 'cart') AS carts,
         count(DISTINCT item_id) AS items, max(ts) AS last_seen
  FROM clicks GROUP BY user_id;

-- The archive: orders as Parquet files.
CREATE SINK archive FROM orders WITH (to = 'file:shop-archive', format = 'parquet');
