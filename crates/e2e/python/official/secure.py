"""The official client over TLS, which it speaks over gRPC only: found in clear, and without looking."""

import sys

from harness import Agent, check, run


async def main(port, certificate):
    tls = {"use_tls": True, "ssl_ca_cert": certificate}
    found = Agent("found")
    check(await found.client.connect_to_server("localhost", port, **tls), True, "as the server recommends")
    given = Agent("given")
    given.client.register_event_handler(given._take)
    joined = await given.client.connect_to_server(
        "localhost", port, skip_detection=True, enforce_transport_type="grpc", **tls
    )
    check(joined, True, "without looking")
    check((await found.agent("given").send("sealed")).success, True)
    event = await given.event("thread.direct_message.notification")
    check(event.payload["content"]["text"], "sealed")
    check((await found.leave(), await given.leave()), (True, True))


run(main(int(sys.argv[1]), sys.argv[2]))
