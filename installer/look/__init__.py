"""What is here, looked at: engine, doors, disks, health. Changes nothing."""
