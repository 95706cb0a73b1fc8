// Starts the npm package bittorrent-tracker for the tests, over HTTP and UDP.
//
//   node npm_tracker.mjs MODULES PORT HOST4 HOST6
//
// MODULES: the node_modules folder that holds bittorrent-tracker. HTTP and UDP listen on PORT; HTTP on HOST4, or on
// HOST6 where HOST4 is `-`. Where HOST6 is `-` there is no IPv6. Prints `listening` when all do; ends when its standard
// input does.
import { register } from 'node:module'
import { pathToFileURL } from 'node:url'

const [modules, port, host4, host6] = process.argv.slice(2)

// WebRTC is native code that was not built; trackers over WebSocket alone would need it.
const stub = 'const Nothing = class {}; export default Nothing; ' +
  'export { Nothing as RTCPeerConnection, Nothing as RTCSessionDescription, Nothing as RTCIceCandidate }'
const hook = `
  const native = name => name === 'webrtc-polyfill' || name.startsWith('node-datachannel')
  const url = ${JSON.stringify('data:text/javascript,' + encodeURIComponent(stub))}
  export const resolve = (name, context, next) =>
    native(name) ? { url, shortCircuit: true } : next(name, context)`
register('data:text/javascript,' + encodeURIComponent(hook))

const { default: Server } = await import(pathToFileURL(`${modules}/bittorrent-tracker/server.js`))
const server = new Server({ http: true, udp: true, ws: false, stats: false, trustProxy: false })
server.on('error', error => { console.error(error.message); process.exit(1) })
server.on('warning', error => console.error(error.message))
const http = host4 === '-' ? host6 : host4
if (host6 === '-') {
  server.udp6.close()
  server.udp6 = null
}
const sockets = [server.http, server.udp4, server.udp6].filter(socket => socket)
let waiting = sockets.length
for (const socket of sockets) socket.on('listening', () => { if (--waiting === 0) console.log('listening') })
server.listen(Number(port), { http, udp: host4 === '-' ? '127.0.0.1' : host4, udp6: host6 })
process.stdin.on('end', () => process.exit(0)).resume()
