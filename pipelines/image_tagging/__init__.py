"""From images and their tags to a served, verified model: `train_and_deploy` with the words of images."""
