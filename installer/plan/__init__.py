"""From what is known to a plan: steps, actions, checks, rounds, all of them values. Decides; does nothing."""
