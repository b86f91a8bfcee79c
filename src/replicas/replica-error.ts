/** A replica does not start; it has said itself why. */
export class ReplicaError extends Error {
  override readonly name = 'ReplicaError';
}
