// One member of a group, in Go: members franz-go|sarama and the arguments of GroupMember.java.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type arguments struct {
	bootstrap, topic, group, instance string
	session                           time.Duration
	number                            int
	options                           map[string]string
}

var output sync.Mutex

func write(lines *strings.Builder) {
	output.Lock()
	defer output.Unlock()
	os.Stdout.WriteString(lines.String())
}

func (a arguments) line(lines *strings.Builder, kind string, partition int32, offset int64) {
	fmt.Fprintf(lines, "%s %d %d %d %d\n", kind, time.Now().UnixMicro(), partition, offset, a.number)
}

func main() {
	if len(os.Args) == 3 && os.Args[2] == "version" {
		printVersion(os.Args[1])
		return
	}
	if len(os.Args) < 7 {
		fail("usage: members franz-go|sarama BOOTSTRAP TOPIC GROUP INSTANCE|- SESSION_MS [KEY=VALUE...]")
	}
	sessionMs, err := strconv.Atoi(os.Args[6])
	if err != nil {
		fail(err)
	}
	options := map[string]string{"members": "1", "first": "0"}
	for _, argument := range os.Args[7:] {
		key, value, _ := strings.Cut(argument, "=")
		options[key] = value
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	run := map[string]func(context.Context, arguments) error{"franz-go": runFranz, "sarama": runSarama}[os.Args[1]]
	var members sync.WaitGroup
	count, first := number(options["members"]), number(options["first"])
	for n := first; n < first+count; n++ {
		a := arguments{os.Args[2], os.Args[3], os.Args[4], os.Args[5], time.Duration(sessionMs) * time.Millisecond, n, options}
		if options["groups"] != "" {
			a.group = fmt.Sprintf("%s-%d", a.group, n)
		}
		if a.instance != "-" && count > 1 {
			a.instance = fmt.Sprintf("%s-%d", a.instance, n)
		}
		members.Go(func() {
			if err := run(ctx, a); err != nil {
				fail(err)
			}
		})
	}
	members.Wait()
}

func fail(reason any) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		fail(err)
	}
	return value
}

func printVersion(client string) {
	module := map[string]string{"franz-go": "github.com/twmb/franz-go", "sarama": "github.com/IBM/sarama"}[client]
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			fmt.Println(strings.TrimPrefix(dependency.Version, "v"))
		}
	}
}

func runFranz(ctx context.Context, a arguments) error {
	options := []kgo.Opt{
		kgo.SeedBrokers(a.bootstrap), kgo.ConsumerGroup(a.group), kgo.ConsumeTopics(a.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(a.session), kgo.HeartbeatInterval(time.Second), kgo.RebalanceTimeout(15 * time.Second),
		kgo.FetchMaxWait(200 * time.Millisecond),
	}
	if a.instance != "-" {
		options = append(options, kgo.InstanceID(a.instance))
	}
	if a.options["protocol"] == "consumer" {
		// Sticky asks for the broker's uniform assignor.
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	} else if a.options["assignor"] == "range" {
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		records := client.PollRecords(ctx, 50).Records()
		if len(records) > 0 {
			commitFranz(a, client, records)
		}
		client.AllowRebalance()
	}
	memberID, _ := client.GroupMetadata()
	client.CloseAllowingRebalance()
	if a.instance != "-" && a.options["protocol"] == "consumer" {
		return leaveForAWhile(a, memberID)
	}
	return nil
}

// franz-go 1.22.2 says that a static member leaves for a while (epoch -2) without its instance id, which Kafka 4.4 refuses too: its place would stay taken until
// its session ends.
func leaveForAWhile(a arguments, memberID string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(a.bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	request.Group, request.MemberID, request.InstanceID, request.MemberEpoch = a.group, memberID, &a.instance, -2
	_, err = request.RequestWith(context.Background(), client)
	return err
}

func commitFranz(a arguments, client *kgo.Client, records []*kgo.Record) {
	var lines strings.Builder
	next := map[int32]int64{}
	for _, record := range records {
		a.line(&lines, "R", record.Partition, record.Offset)
		next[record.Partition] = record.Offset + 1
	}
	write(&lines)
	time.Sleep(5 * time.Millisecond)
	if err := client.CommitRecords(context.Background(), records...); err != nil {
		fmt.Fprintln(os.Stderr, "commit:", err)
		return
	}
	lines.Reset()
	for partition, offset := range next {
		a.line(&lines, "C", partition, offset)
	}
	write(&lines)
}

// Sarama does not say whether a commit was taken: it prints no C lines.
type handler struct{ arguments }

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (handler handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	count := 0
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			var lines strings.Builder
			handler.line(&lines, "R", message.Partition, message.Offset)
			write(&lines)
			session.MarkMessage(message, "")
			if count++; count%50 == 0 || len(claim.Messages()) == 0 {
				time.Sleep(5 * time.Millisecond)
				session.Commit()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func runSarama(ctx context.Context, a arguments) error {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = a.session
	config.Consumer.Group.Heartbeat.Interval = time.Second
	config.Consumer.Group.Rebalance.Timeout = 15 * time.Second
	if a.instance != "-" {
		config.Version = sarama.V2_4_0_0
		config.Consumer.Group.InstanceId = a.instance
	}
	for ctx.Err() == nil {
		if err := consumeSarama(ctx, a, config); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "again:", err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

func consumeSarama(ctx context.Context, a arguments, config *sarama.Config) error {
	group, err := sarama.NewConsumerGroup([]string{a.bootstrap}, a.group, config)
	if err != nil {
		return err
	}
	defer group.Close()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{a.topic}, handler{a}); err != nil {
			return err
		}
	}
	return nil
}
