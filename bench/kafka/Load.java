import java.time.Duration;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Both systems get the same events from this program, and their results are seen by it, read committed:
 *
 *   Load fill BOOTSTRAP INPUT EVENTS                          writes events
 *   Load follow BOOTSTRAP OUTPUT EVENTS                       says ten times a second how many events are counted
 *   Load pace BOOTSTRAP INPUT OUTPUT RATE WARM_UP SECONDS     writes events when they are due, and says when they were counted
 */
public final class Load {
    static final int PARTITIONS = 4;
    /** Event number n is of user n % USERS. */
    static final int USERS = 1000;
    static final long WINDOW_MILLIS = 10_000;
    /** Events a second of event time, where they are written as fast as possible. */
    static final long FILL_RATE = 50_000;
    /** Events that follow each other in a partition. */
    static final int RUN = 20;

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[1];
        switch (arguments[0]) {
            case "fill" -> fill(bootstrap, arguments[2], Long.parseLong(arguments[3]));
            case "follow" -> follow(bootstrap, arguments[2], Long.parseLong(arguments[3]));
            case "pace" -> pace(bootstrap, arguments[2], arguments[3], Long.parseLong(arguments[4]),
                Long.parseLong(arguments[5]), Long.parseLong(arguments[6]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, int linger) {
        return new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "linger.ms", linger, "batch.size", 131_072, "compression.type", "lz4"),
            new ByteArraySerializer(), new ByteArraySerializer());
    }

    static ProducerRecord<byte[], byte[]> event(String topic, long id, long time) {
        String json = "{\"id\":" + id + ",\"user_id\":" + id % USERS + ",\"page\":\"/articles/" + id % 97
            + "/comments\",\"referrer\":\"https://example.org/search?q=" + id % 1013 + "\",\"price\":" + id % 500 + ".25,\"ts\":" + time + "}";
        return new ProducerRecord<>(topic, (int) (id / RUN % PARTITIONS), null, json.getBytes());
    }

    static void fill(String bootstrap, String topic, long events) {
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, 20)) {
            for (long id = 0; id < events; id++) {
                producer.send(event(topic, id, id * 1000 / FILL_RATE));
            }
        }
    }

    /** Reads all partitions of a topic, which may not be there yet. */
    static KafkaConsumer<byte[], String> consumer(String bootstrap, String topic) throws InterruptedException {
        KafkaConsumer<byte[], String> consumer = new KafkaConsumer<>(
            Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed", "auto.offset.reset", "earliest",
                "fetch.max.wait.ms", 100),
            new ByteArrayDeserializer(), new StringDeserializer());
        while (!consumer.listTopics().containsKey(topic)) {
            Thread.sleep(50);
        }
        List<TopicPartition> partitions =
            consumer.partitionsFor(topic).stream().map(info -> new TopicPartition(topic, info.partition())).toList();
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        return consumer;
    }

    /** One row of the result. */
    record Row(long user, long windowStart, long count) {
        static Row of(ConsumerRecord<byte[], String> record) {
            return new Row(Long.parseLong(field(record.value(), "user_id")), start(field(record.value(), "window_start")),
                Long.parseLong(field(record.value(), "n")));
        }

        private static String field(String json, String name) {
            int begin = json.indexOf("\"" + name + "\":") + name.length() + 3;
            int end = begin;
            while (",}".indexOf(json.charAt(end)) < 0) {
                end++;
            }
            return json.substring(begin, end);
        }

        private static long start(String text) {
            if (text.charAt(0) != '"') {
                return Long.parseLong(text);
            }
            return LocalDateTime.parse(text.substring(1, 20)).toEpochSecond(ZoneOffset.UTC) * 1000;
        }
    }

    static void follow(String bootstrap, String topic, long events) throws InterruptedException {
        Map<List<Long>, Long> counts = new HashMap<>();
        long total = 0, told = 0;
        try (KafkaConsumer<byte[], String> consumer = consumer(bootstrap, topic)) {
            while (total < events) {
                for (ConsumerRecord<byte[], String> record : consumer.poll(Duration.ofMillis(100))) {
                    Row row = Row.of(record);
                    Long before = counts.put(List.of(row.user(), row.windowStart()), row.count());
                    total += row.count() - (before == null ? 0 : before);
                }
                if (System.nanoTime() - told > 100_000_000 || total >= events) {
                    told = System.nanoTime();
                    System.out.println(total);
                    System.out.flush();
                }
            }
        }
        System.out.println(total);
    }

    /** Events run from the beginning of a window on, so that the n-th of a user in a window is known by its number. */
    static void pace(String bootstrap, String input, String output, long rate, long warmUp, long seconds) throws Exception {
        long begin = (System.currentTimeMillis() / WINDOW_MILLIS + 1) * WINDOW_MILLIS;
        long number = rate * (warmUp + seconds);
        Thread writer = new Thread(() -> write(bootstrap, input, rate, begin, number));
        writer.start();
        int[] latencies = new int[(int) number];
        long counted = 0;
        Map<List<Long>, Long> counts = new HashMap<>();
        try (KafkaConsumer<byte[], String> consumer = consumer(bootstrap, output)) {
            long last = System.nanoTime();
            while (counted < number && System.nanoTime() - last < 30_000_000_000L) {
                for (ConsumerRecord<byte[], String> record : consumer.poll(Duration.ofMillis(100))) {
                    long now = System.currentTimeMillis();
                    last = System.nanoTime();
                    Row row = Row.of(record);
                    if (row.windowStart() < begin) {
                        continue;
                    }
                    Long put = counts.put(List.of(row.user(), row.windowStart()), row.count());
                    // Events of the window before its first of this user are those of the users before it.
                    long first = (row.windowStart() - begin) * rate / 1000;
                    first += Math.floorMod(row.user() - first, USERS);
                    for (long nth = put == null ? 0 : put; nth < row.count(); nth++) {
                        long id = first + nth * USERS;
                        latencies[(int) id] = (int) (now - (begin + id * 1000 / rate));
                        counted++;
                    }
                }
                System.out.println(counted);
                System.out.flush();
            }
        }
        writer.join();
        int[] measured = IntStream.range((int) (rate * warmUp), (int) number).map(id -> latencies[id]).toArray();
        Arrays.sort(measured);
        System.out.printf("latency of %d events, %d counted of %d: %d %d %d %d%n", measured.length, counted, number,
            measured[measured.length / 2], measured[(int) (measured.length * 0.95)], measured[(int) (measured.length * 0.99)],
            measured[measured.length - 1]);
    }

    static void write(String bootstrap, String topic, long rate, long begin, long number) {
        try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, 1)) {
            producer.partitionsFor(topic);
            long sent = 0;
            while (sent < number) {
                long due = Math.min(number, Math.max(0, System.currentTimeMillis() - begin) * rate / 1000);
                for (; sent < due; sent++) {
                    producer.send(event(topic, sent, begin + sent * 1000 / rate));
                }
                LockSupport.parkNanos(1_000_000);
            }
        }
    }
}
