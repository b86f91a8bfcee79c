// Preloaded into an app: from one SIGUSR2 to the next, its event loop turns no more often than every 700 ms.
let blocking = false;
process.on('SIGUSR2', () => {
  blocking = !blocking;
  if (blocking) block();
});

function block() {
  for (const end = performance.now() + 700; performance.now() < end;);
  if (blocking) setTimeout(block, 1);
}
