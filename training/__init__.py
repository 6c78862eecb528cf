"""From consensus to gradients: credit (numpy), objectives and trainers (torch)."""
