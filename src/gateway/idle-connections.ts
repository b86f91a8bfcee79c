import type { OutgoingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';

/** How often connections are looked at while the server closes, in ms: a busy one falls idle with its response. */
const intervalMs = 50;

/**
 * For a server that closes: ends each connection as soon as it has no request in flight. Node's `closeIdleConnections`
 * leaves those on which no request was sent yet, such as the ones that browsers and connection pools open in advance; the
 * server would wait for them until they time out.
 *
 * @returns what to call when the server begins to close
 */
export function idleConnections(server: Server): () => void {
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  const endIdle = () => {
    for (const socket of open) {
      // Node's own mark of a connection with a request that has not been answered
      if (!(socket as Socket & { _httpMessage?: OutgoingMessage | null })._httpMessage) socket.destroy();
    }
  };
  return () => {
    endIdle();
    const timer = setInterval(endIdle, intervalMs);
    server.once('close', () => clearInterval(timer));
  };
}
