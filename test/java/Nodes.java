// ZooKeeper's own client, driven line by line: what node-zookeeper-client cannot ask for (containers
// and TTL nodes) is asked here. Fields are separated by tabs, data is in hex.
//
//   open                              -> ok SESSION
//   N close                           -> ok
//   N create MODE TTL PATH DATA       -> ok PATH STAT
//   N set VERSION PATH DATA           -> ok STAT
//   N delete VERSION PATH             -> ok
//   N get|exists|children PATH        -> ok DATA STAT | ok STAT | ok NAMES STAT
//   N multi COUNT, then the operations in lines of their own, without N
//                                     -> ok RESULT RESULT ...
//
// Failures: error CODE INDEX, with the index of the operation in a multi.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.OpCode;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

public class Nodes {
  private final String servers;
  private final List<ZooKeeper> sessions = new ArrayList<>();
  private final BufferedReader in =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

  private Nodes(String servers) {
    this.servers = servers;
  }

  public static void main(String[] args) throws Exception {
    new Nodes(args[0]).run();
    System.exit(0);
  }

  private void run() throws Exception {
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String answer;
      try {
        answer = "ok" + answer(line.split("\t", -1));
      } catch (KeeperException e) {
        answer = "error\t" + e.code().intValue() + "\t" + failedAt(e);
      }
      System.out.println(answer);
      System.out.flush();
    }
  }

  private static int failedAt(KeeperException e) {
    List<OpResult> results = e.getResults();
    for (int at = 0; results != null && at < results.size(); at++) {
      if (results.get(at) instanceof OpResult.ErrorResult error && error.getErr() != 0) return at;
    }
    return -1;
  }

  private String answer(String[] fields) throws Exception {
    if (fields[0].equals("open")) return "\t" + open();
    ZooKeeper zk = sessions.get(Integer.parseInt(fields[0]));
    Stat stat = new Stat();
    switch (fields[1]) {
      case "close":
        zk.close();
        return "";
      case "create": {
        String path =
            zk.create(
                fields[4], data(fields[5]), Ids.OPEN_ACL_UNSAFE, mode(fields[2]), stat, ttl(fields[3]));
        return "\t" + path + "\t" + text(stat);
      }
      case "set":
        return "\t" + text(zk.setData(fields[3], data(fields[4]), Integer.parseInt(fields[2])));
      case "delete":
        zk.delete(fields[3], Integer.parseInt(fields[2]));
        return "";
      case "get": {
        byte[] found = zk.getData(fields[2], false, stat);
        return "\t" + HexFormat.of().formatHex(found) + "\t" + text(stat);
      }
      case "exists": {
        Stat found = zk.exists(fields[2], false);
        return found == null ? "" : "\t" + text(found);
      }
      case "children": {
        List<String> names = zk.getChildren(fields[2], false, stat);
        return "\t" + String.join("/", names) + "\t" + text(stat);
      }
      case "multi":
        return multi(zk, Integer.parseInt(fields[2]));
      default:
        throw new IllegalArgumentException(fields[1]);
    }
  }

  private long open() throws Exception {
    CountDownLatch connected = new CountDownLatch(1);
    ZooKeeper zk =
        new ZooKeeper(
            servers,
            20_000,
            event -> {
              if (event.getState() == KeeperState.SyncConnected) connected.countDown();
            });
    connected.await();
    sessions.add(zk);
    return zk.getSessionId();
  }

  private String multi(ZooKeeper zk, int count) throws Exception {
    List<Op> operations = new ArrayList<>();
    for (int at = 0; at < count; at++) operations.add(operation(in.readLine().split("\t", -1)));
    StringBuilder answer = new StringBuilder();
    for (OpResult result : zk.multi(operations)) answer.append('\t').append(text(result));
    return answer.toString();
  }

  private static Op operation(String[] fields) throws ReflectiveOperationException {
    return switch (fields[0]) {
      case "create" -> create(fields);
      case "set" -> Op.setData(fields[2], data(fields[3]), Integer.parseInt(fields[1]));
      case "delete" -> Op.delete(fields[2], Integer.parseInt(fields[1]));
      case "check" -> Op.check(fields[2], Integer.parseInt(fields[1]));
      default -> throw new IllegalArgumentException(fields[0]);
    };
  }

  private static Op create(String[] fields) throws ReflectiveOperationException {
    CreateMode mode = mode(fields[1]);
    String path = fields[3];
    byte[] data = data(fields[4]);
    if (mode.isTTL()) return Op.create(path, data, Ids.OPEN_ACL_UNSAFE, mode, ttl(fields[2]));
    Op operation = Op.create(path, data, Ids.OPEN_ACL_UNSAFE, mode);
    if (mode.isContainer()) return operation;
    // The client asks for plain nodes without their stat, which the server would give.
    Field type = Op.class.getDeclaredField("type");
    type.setAccessible(true);
    type.setInt(operation, OpCode.create2);
    return operation;
  }

  private static String text(OpResult result) {
    if (result instanceof OpResult.CreateResult created) {
      return "create " + created.getPath() + " " + text(created.getStat());
    }
    if (result instanceof OpResult.SetDataResult set) return "set " + text(set.getStat());
    return result instanceof OpResult.DeleteResult ? "delete" : "check";
  }

  private static CreateMode mode(String name) {
    return CreateMode.valueOf(name);
  }

  private static long ttl(String text) {
    return Long.parseLong(text);
  }

  private static byte[] data(String hex) {
    return HexFormat.of().parseHex(hex);
  }

  private static String text(Stat stat) {
    return String.join(
        ",",
        String.valueOf(stat.getCzxid()),
        String.valueOf(stat.getMzxid()),
        String.valueOf(stat.getPzxid()),
        String.valueOf(stat.getCtime()),
        String.valueOf(stat.getMtime()),
        String.valueOf(stat.getVersion()),
        String.valueOf(stat.getCversion()),
        String.valueOf(stat.getAversion()),
        String.valueOf(stat.getEphemeralOwner()),
        String.valueOf(stat.getDataLength()),
        String.valueOf(stat.getNumChildren()));
  }
}
