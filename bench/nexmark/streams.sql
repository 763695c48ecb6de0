CREATE STREAM person (id BIGINT, name TEXT, emailAddress TEXT, creditCard TEXT, city TEXT, state TEXT, dateTime TIMESTAMP, extra TEXT,
  WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND);
CREATE STREAM auction (id BIGINT, itemName TEXT, description TEXT, initialBid BIGINT, reserve BIGINT, dateTime TIMESTAMP,
  expires TIMESTAMP, seller BIGINT, category BIGINT, extra TEXT, WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND);
CREATE STREAM bid (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, dateTime TIMESTAMP, extra TEXT,
  WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND);
