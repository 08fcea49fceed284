/** Devices of a board that programs on the host ask things of while the machine runs. */
import type { VirtioBalloon } from '../devices/virtio/balloon.js';
import type { VirtioVsock } from '../devices/virtio/vsock.js';

export interface BoardControls {
  balloon: VirtioBalloon | null;
  onBalloonChange: () => void;
  vsock: VirtioVsock | null;
}
