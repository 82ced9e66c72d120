// A client of memq whose bodies and replies are the types that quicktype makes of schemas/json/types.json.
// Fields that are not set here are written as null.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const uuid = "3aec9f96-379f-553d-9acb-30de5460498c"

type client struct {
	channel *amqp.Channel
	replies string
	answers <-chan amqp.Delivery
	number  int
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func of[T any](value T) *T { return &value }

// A dense vector, as one of the forms that a vector has.
func numbers(values ...float64) []NegativeElement {
	elements := make([]NegativeElement, len(values))
	for at := range values {
		elements[at].Double = &values[at]
	}
	return elements
}

func (c *client) ask(key string, body any) []byte {
	text, err := json.Marshal(body)
	check(err)
	c.number++
	id := strconv.Itoa(c.number)
	message := amqp.Publishing{
		ContentType: "application/json", DeliveryMode: 2, Priority: 4, CorrelationId: id, ReplyTo: c.replies, Body: text,
	}
	confirm, err := c.channel.PublishWithDeferredConfirm("memq.commands", key, true, false, message)
	check(err)
	wait, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := confirm.WaitContext(wait); err != nil {
		check(err)
	}
	for {
		select {
		case answer := <-c.answers:
			if answer.CorrelationId == id {
				return answer.Body
			}
		case <-wait.Done():
			check(fmt.Errorf("no answer to %s", key))
		}
	}
}

func read[T any](text []byte) T {
	var reply T
	check(json.Unmarshal(text, &reply))
	return reply
}

func equals(key string, value string) Condition {
	return Condition{Key: of(key), Match: &Match{Value: &Value{String: of(value)}}}
}

func all(conditions ...Condition) *Filter {
	return &Filter{Must: &Must{ConditionArray: conditions}}
}

func name(id *ID) string {
	if id.Integer != nil {
		return strconv.FormatInt(*id.Integer, 10)
	}
	return *id.String
}

func main() {
	connection, err := amqp.Dial(os.Getenv("AMQP_URL"))
	check(err)
	defer connection.Close()
	channel, err := connection.Channel()
	check(err)
	check(channel.Confirm(false))
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	check(err)
	answers, err := channel.Consume(queue.Name, "", true, true, false, false, nil)
	check(err)
	c := &client{channel: channel, replies: queue.Name, answers: answers}
	collection := os.Args[1]

	created := read[CreateCollectionReply](c.ask("collections.create."+collection, CreateCollection{Size: of(int64(2))}))
	fmt.Println("created", created.Status, created.Result.Created)

	points := []Point{
		{ID: &ID{Integer: of(int64(1))}, Vector: &PointVectorsVector{UnionArray: numbers(1, 0.5)}, Payload: map[string]any{"lang": "en", "year": 2024}},
		{ID: &ID{String: of(uuid)}, Vector: &PointVectorsVector{String: of("AACAPwAAAAA=")}, Payload: map[string]any{"lang": "de"}, Version: of(int64(7))},
		{ID: &ID{Integer: of(int64(3))}, Vector: &PointVectorsVector{UnionArray: numbers(0, 1)}},
	}
	fmt.Println("upserted", read[UpsertReply](c.ask("upsert."+collection, Upsert{Points: points})).Result.Upserted)

	either := Filter{Should: &Must{ConditionArray: []Condition{
		equals("lang", "en"),
		{Must: &MustUnion{ConditionArray: []Condition{{IsEmpty: &KeyOnly{Key: "lang"}}, {HasID: []ID{{Integer: of(int64(3))}}}}}},
	}}, MustNot: &Must{ConditionArray: []Condition{{Key: of("year"), Range: &Range{Lt: &Radius{Double: of(2000.0)}}}}}}
	fmt.Println("count", read[CountReply](c.ask("count."+collection, Count{Filter: &either})).Result.Count)

	query := Query{Vector: &QueryVector{UnionArray: numbers(1, 0)}, Filter: all(equals("lang", "de"))}
	for _, hit := range read[QueryReply](c.ask("query."+collection, query)).Result {
		fmt.Printf("hit %s %.2f %v version %d\n", name(hit.ID), *hit.Score, hit.Payload["lang"], *hit.Version)
	}

	changed := read[SetPayloadReply](c.ask("payload."+collection, SetPayload{IDS: []ID{{Integer: of(int64(1))}}, Set: map[string]any{"seen": true}, Unset: []string{"year"}}))
	fmt.Println("updated", *changed.Result.Updated)
	got := read[GetReply](c.ask("get."+collection, Get{IDS: []ID{{Integer: of(int64(1))}, {Integer: of(int64(99))}}, WithPayload: &WithPayload{StringArray: []string{"seen"}}, WithVector: &WithVectorUnion{Bool: of(true)}}))
	for _, point := range got.Result {
		fmt.Println("point", name(point.ID), len(point.Payload), point.Payload["seen"], len(point.Vector.UnionArray))
	}

	removed := read[DeleteReply](c.ask("delete."+collection, Delete{Filter: all(equals("lang", "en"))}))
	fmt.Println("deleted by filter", removed.Result.Deleted == nil)
	fmt.Println("left", read[CountReply](c.ask("count."+collection, Count{})).Result.Count)

	refused := read[ErrorReply](c.ask("delete."+collection, Delete{Filter: &Filter{}}))
	fmt.Println("refused", refused.Status, refused.Error.Code)
	refused = read[ErrorReply](c.ask("query."+collection, Query{Vector: &QueryVector{UnionArray: numbers(1)}}))
	fmt.Println("refused", refused.Status, refused.Error.Code)
}
