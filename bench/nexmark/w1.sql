SELECT window_start, channel, count(*) AS n, avg(price) AS p FROM TUMBLE(bid, dateTime, INTERVAL '10' SECOND)
GROUP BY window_start, window_end, channel
