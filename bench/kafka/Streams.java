import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;

/**
 * The query of count.sql in Kafka Streams: Streams BOOTSTRAP APPLICATION INPUT OUTPUT GUARANTEE STORE FOLDER.
 *
 * Tuned as its documentation says: only what the count needs is read of the JSON and goes through the repartition topic; caching
 * as by default, which writes a row once for each commit; two threads; commits every 100 ms as in Rechka.
 */
public final class Streams {
    /** What is read of an event. */
    record Event(long user, long time) {}

    public static void main(String[] arguments) {
        String input = arguments[2], output = arguments[3], store = arguments[5];
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, arguments[4]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[6]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        if (store.equals("memory")) {
            settings.put(StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        }
        StreamsBuilder builder = new StreamsBuilder();
        Consumed<byte[], Event> events = Consumed.with(Serdes.ByteArray(), eventSerde())
            .withTimestampExtractor((record, before) -> ((Event) record.value()).time());
        // Grace as long as the run: nothing is late, however far one partition is read ahead of another.
        TimeWindows windows = TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofDays(1));
        byte[] nothing = new byte[0];
        builder.stream(input, events)
            .map((key, event) -> KeyValue.pair(event.user(), nothing))
            .groupByKey(Grouped.with(Serdes.Long(), Serdes.ByteArray()))
            .windowedBy(windows)
            .count()
            .toStream()
            .map((key, count) -> KeyValue.pair(key.key(),
                "{\"user_id\":" + key.key() + ",\"window_start\":" + key.window().start() + ",\"n\":" + count + "}"))
            .to(output, Produced.with(Serdes.Long(), Serdes.String()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    private static Serde<Event> eventSerde() {
        JsonFactory json = new JsonFactory();
        Serializer<Event> never = (topic, event) -> { throw new IllegalStateException("events are not written"); };
        Deserializer<Event> read = (topic, bytes) -> {
            long user = 0, time = 0;
            try (JsonParser parser = json.createParser(bytes)) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "user_id" -> user = parser.getLongValue();
                        case "ts" -> time = parser.getLongValue();
                        default -> { }
                    }
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return new Event(user, time);
        };
        return Serdes.serdeFrom(never, read);
    }
}
