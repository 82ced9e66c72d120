package client;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import memq.*;

/**
 * A client of memq whose bodies and replies are the types that quicktype makes of schemas/json/types.json. Fields that
 * are not set here are written as null.
 */
public final class Client {
    private static final String UUID = "3aec9f96-379f-553d-9acb-30de5460498c";
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Channel channel;
    private final String replies;
    private final BlockingQueue<byte[]> answers = new ArrayBlockingQueue<>(1);
    private int number;

    private Client(Channel channel) throws Exception {
        this.channel = channel;
        this.replies = channel.queueDeclare().getQueue();
        channel.confirmSelect();
        channel.basicConsume(replies, true, (tag, delivery) -> {
            if (delivery.getProperties().getCorrelationId().equals(Integer.toString(number))) {
                answers.add(delivery.getBody());
            }
        }, tag -> { });
    }

    private <T> T ask(String key, Object body, Class<T> reply) throws Exception {
        number++;
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
            .contentType("application/json").deliveryMode(2).priority(4)
            .correlationId(Integer.toString(number)).replyTo(replies).build();
        channel.basicPublish("memq.commands", key, true, properties, JSON.writeValueAsBytes(body));
        channel.waitForConfirmsOrDie(30_000);
        byte[] answer = answers.poll(30, TimeUnit.SECONDS);
        if (answer == null) {
            throw new IllegalStateException("no answer to " + key);
        }
        return JSON.readValue(answer, reply);
    }

    private static ID id(long value) {
        ID id = new ID();
        id.integerValue = value;
        return id;
    }

    private static ID id(String value) {
        ID id = new ID();
        id.stringValue = value;
        return id;
    }

    private static String name(ID id) {
        return id.integerValue != null ? id.integerValue.toString() : id.stringValue;
    }

    private static Point point(ID id, List<Double> numbers, String base64, Map<String, Object> payload, Long version) {
        PointVectorsVector vector = new PointVectorsVector();
        vector.unionArrayValue = numbers == null ? null : numbers.stream().map(Client::element).toList();
        vector.stringValue = base64;
        Point point = new Point();
        point.setID(id);
        point.setVector(vector);
        point.setPayload(payload);
        point.setVersion(version);
        return point;
    }

    // A number of a dense vector, as one of the forms that a vector has.
    private static Negative element(Double number) {
        Negative element = new Negative();
        element.doubleValue = number;
        return element;
    }

    private static Condition equal(String key, String value) {
        Match match = new Match();
        match.setValue(new Value());
        match.getValue().stringValue = value;
        Condition condition = new Condition();
        condition.setKey(key);
        condition.setMatch(match);
        return condition;
    }

    private static Must group(Condition... conditions) {
        Must group = new Must();
        group.conditionArrayValue = new ArrayList<>(List.of(conditions));
        return group;
    }

    private static Filter all(Condition... conditions) {
        Filter filter = new Filter();
        filter.setMust(group(conditions));
        return filter;
    }

    private static Filter either() {
        KeyOnly lang = new KeyOnly();
        lang.setKey("lang");
        Condition empty = new Condition();
        empty.setIsEmpty(lang);
        Condition third = new Condition();
        third.setHasID(List.of(id(3)));
        Condition both = new Condition();
        MustUnion inner = new MustUnion();
        inner.conditionArrayValue = new ArrayList<>(List.of(empty, third));
        both.setMust(inner);
        Range range = new Range();
        range.setLt(new Radius());
        range.getLt().doubleValue = 2000.0;
        Condition old = new Condition();
        old.setKey("year");
        old.setRange(range);
        Filter filter = new Filter();
        filter.setShould(group(equal("lang", "en"), both));
        filter.setMustNot(group(old));
        return filter;
    }

    private void run(String collection) throws Exception {
        CreateCollection create = new CreateCollection();
        create.setSize(2L);
        CreateCollectionReply created = ask("collections.create." + collection, create, CreateCollectionReply.class);
        System.out.println("created " + created.getStatus() + " " + created.getResult().getCreated());

        Upsert upsert = new Upsert();
        upsert.setPoints(List.of(
            point(id(1), List.of(1.0, 0.5), null, Map.of("lang", "en", "year", 2024), null),
            point(id(UUID), null, "AACAPwAAAAA=", Map.of("lang", "de"), 7L),
            point(id(3), List.of(0.0, 1.0), null, null, null)));
        System.out.println("upserted " + ask("upsert." + collection, upsert, UpsertReply.class).getResult().getUpserted());

        Count count = new Count();
        count.setFilter(either());
        System.out.println("count " + ask("count." + collection, count, CountReply.class).getResult().getCount());

        Query query = new Query();
        query.setVector(new QueryVector());
        query.getVector().unionArrayValue = List.of(element(1.0), element(0.0));
        query.setFilter(all(equal("lang", "de")));
        for (ScoredPoint hit : ask("query." + collection, query, QueryReply.class).getResult()) {
            System.out.println(String.format(Locale.ROOT, "hit %s %.2f %s version %d",
                name(hit.getID()), hit.getScore(), hit.getPayload().get("lang"), hit.getVersion()));
        }

        SetPayload change = new SetPayload();
        change.setIDS(List.of(id(1)));
        change.setSet(Map.of("seen", true));
        change.setUnset(List.of("year"));
        System.out.println("updated " + ask("payload." + collection, change, SetPayloadReply.class).getResult().getUpdated());

        Get get = new Get();
        get.setIDS(List.of(id(1), id(99)));
        get.setWithPayload(new WithPayload());
        get.getWithPayload().stringArrayValue = List.of("seen");
        get.setWithVector(new WithVectorUnion());
        get.getWithVector().boolValue = true;
        for (memq.Record point : ask("get." + collection, get, GetReply.class).getResult()) {
            System.out.println("point " + name(point.getID()) + " " + point.getPayload().size() + " "
                + point.getPayload().get("seen") + " " + point.getVector().unionArrayValue.size());
        }

        Delete delete = new Delete();
        delete.setFilter(all(equal("lang", "en")));
        Long deleted = ask("delete." + collection, delete, DeleteReply.class).getResult().getDeleted();
        System.out.println("deleted by filter " + (deleted == null));
        System.out.println("left " + ask("count." + collection, new Count(), CountReply.class).getResult().getCount());

        Delete everything = new Delete();
        everything.setFilter(new Filter());
        ErrorReply refused = ask("delete." + collection, everything, ErrorReply.class);
        System.out.println("refused " + refused.getStatus() + " " + refused.getError().getCode());
        query = new Query();
        query.setVector(new QueryVector());
        query.getVector().unionArrayValue = List.of(element(1.0));
        refused = ask("query." + collection, query, ErrorReply.class);
        System.out.println("refused " + refused.getStatus() + " " + refused.getError().getCode());
    }

    public static void main(String[] arguments) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        try (Connection connection = factory.newConnection()) {
            new Client(connection.createChannel()).run(arguments[0]);
        }
    }
}
